"""The page docs/reliability.md: its tables are written from docs/reliability.json, which the suite has recorded.

`python -m tests.faults.page` writes them anew; FAULT_JSON=docs/reliability.json is where the suite records.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from tests.databases import ROOT

PAGE = ROOT / "docs" / "reliability.md"
FIGURES = ROOT / "docs" / "reliability.json"
Document = dict[str, Any]
_BLOCK = r"(<!-- faults: {name} -->\n).*?(<!-- faults: end -->)"
_HEADS = {
    "rounds": "rounds", "hits": "hits", "runs": "runs", "seeded": "rows seeded", "deleted": "rows deleted",
    "lost": "lost", "left": "left", "miscounted": "miscounted", "stuck": "runs left open", "by_hand": "by hand",
}  # fmt: skip
_INPUT = {"rounds": "generated", "refused": "refused by their place", "planned": "planned", "wrong": "anything else"}
_PROBLEMS = ("lost", "left", "miscounted", "stuck", "wrong")


def problems(document: Document) -> dict[str, int]:
    """What must not be: rows lost, left over or miscounted, runs left open, answers that are neither."""
    faults = document["faults"].values()
    return {name: sum(numbers.get(name, 0) for numbers in faults) for name in _PROBLEMS}


def rendered(page: str, document: Document) -> str:
    """A page with its blocks as this document has them."""
    for name, block in {"circumstances": _circumstances, "table": _table, "input": _input}.items():
        body = "\n".join(block(document)) + "\n"
        page = re.sub(_BLOCK.format(name=name), partial(_replaced, body), page, flags=re.DOTALL)
    return page


def _replaced(body: str, match: re.Match[str]) -> str:
    return match[1] + body + match[2]


def _circumstances(document: Document) -> Iterator[str]:
    faults = document["faults"].values()
    struck = [numbers for numbers in faults if "seeded" in numbers]
    yield (
        f"Recorded on {document['measured']} in {document['seconds'] / 60:.0f} minutes, seeds "
        f"{', '.join(map(str, document['seeds']))}, on {document['machine']}, Python {document['python']}, "
        f"{document['server']}: {sum(numbers['rounds'] for numbers in struck):,} rounds with "
        f"{sum(numbers['runs'] for numbers in struck):,} runs, which deleted "
        f"{sum(numbers['deleted'] for numbers in struck):,} rows."
    )


def _table(document: Document) -> Iterator[str]:
    yield from _grid(_HEADS, {fault: one for fault, one in document["faults"].items() if "seeded" in one})


def _input(document: Document) -> Iterator[str]:
    yield from _grid(_INPUT, {fault: one for fault, one in document["faults"].items() if "refused" in one})


def _grid(heads: dict[str, str], faults: dict[str, dict[str, int]]) -> Iterator[str]:
    yield f"| what was injected | {' | '.join(heads.values())} |"
    yield f"| --- |{' ---: |' * len(heads)}"
    for fault, numbers in faults.items():
        yield f"| {fault} | {' | '.join(f'{numbers.get(key, 0):,}' for key in heads)} |"


def main() -> None:
    """Effect: the page has the figures of the file."""
    document = json.loads(FIGURES.read_text(encoding="utf-8"))
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8"), document), encoding="utf-8")


if __name__ == "__main__":
    main()
