"""The tables of docs/costs.md are computed from docs/costs.json."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from typing import Any

import pytest

from tests.databases import ROOT

COSTS: dict[str, Any] = json.loads((ROOT / "docs/costs.json").read_text(encoding="utf-8"))


def test_the_document_has_every_table_as_computed() -> None:
    done = subprocess.run([sys.executable, ROOT / "docs/costs.py"], capture_output=True, encoding="utf-8", check=True)
    document = (ROOT / "docs/costs.md").read_text(encoding="utf-8")
    computed = done.stdout.strip().split("\n\n")
    assert len(computed) == 5
    for part in computed:
        assert part in document, f"run python docs/costs.py, and put this into docs/costs.md:\n{part}"


def test_every_price_has_its_source_and_is_used() -> None:
    used = {item["price"] for part in ("ways", "besides") for items in COSTS[part].values() for item in items}
    assert used == set(COSTS["prices"])
    assert all(price["source"].startswith("https://") for price in COSTS["prices"].values())


def test_a_sum_is_computed_by_hand_too() -> None:
    page: dict[str, Any] = runpy.run_path(str(ROOT / "docs/costs.py"))
    costs = {
        "as_of": "then", "region": "there",
        "use": {"daily_runs": 2, "daily_seconds": 10, "weekly_runs": 1, "weekly_seconds": 30},
        "prices": {"a": {"what": "A", "usd": 0.5, "unit": "x", "free": 60, "source": "https://a"}},
        "ways": {"one": [{"price": "a", "amount": "seconds * 2 + runs", "why": "so"}]},
        "besides": {"net": [{"price": "a", "amount": "100", "why": "so"}]},
        "in_a_network": {"one": "net"},
    }  # fmt: skip
    found = page["page"](costs)
    assert found["head"].startswith("3 runs with 50 seconds")
    assert "| A | `seconds * 2 + runs` | 103 x | $51.50 | $21.50 | so |" in found["ways"]
    assert "| one | $51.50 | $21.50 | $20.00 |" in found["summary"]


def test_an_amount_is_no_program() -> None:
    amount = runpy.run_path(str(ROOT / "docs/costs.py"))["amount"]
    with pytest.raises(ValueError, match="not a sum or product"):
        amount("__import__('os').getpid()", {})
