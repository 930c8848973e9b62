"""[health]: the bands of a figure, and what the policy file refuses."""

from __future__ import annotations

import pytest

from maintenance import policy_file
from maintenance.bands import Band, Limits, bytes_in, seconds_in
from maintenance.errors import PolicyError
from tests.databases import ROOT

SIZE = 'database = { good = "21GB", warning = "25GB", crisis = "30GB" }'


@pytest.mark.parametrize(
    ("value", "band"),
    [
        (None, Band.UNKNOWN), (0, Band.GOOD), (749_999, Band.GOOD), (750_000, Band.WATCH), (1_000_000, Band.WATCH),
        (1_000_001, Band.WARNING), (1_500_000, Band.WARNING), (1_500_001, Band.CRISIS),
    ],
)  # fmt: skip
def test_the_bands_of_a_figure(value: float | None, band: Band) -> None:
    assert Limits(good=750_000, warning=1_000_000, crisis=1_500_000).band(value) is band


@pytest.mark.parametrize(
    ("value", "band"), [(299, Band.GOOD), (300, Band.WATCH), (601, Band.WARNING), (9e9, Band.WARNING)]
)
def test_without_a_crisis_a_warning_is_the_worst(value: float, band: Band) -> None:
    assert Limits(good=300, warning=600).band(value) is band


def test_only_warning_and_crisis_need_somebody() -> None:
    assert [band for band in Band if band.alarming] == [Band.WARNING, Band.CRISIS]


@pytest.mark.parametrize(
    ("text", "size"), [("21GB", 21 * 2**30), ("1.5 MB", 3 * 2**19), ("8kB", 8192), (" 2TB ", 2**41)]
)
def test_a_size(text: str, size: int) -> None:
    assert bytes_in(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("5 minutes", 300), ("1 hour", 3600), ("1.5 days", 129_600), ("1 second", 1)]
)
def test_a_time(text: str, seconds: float) -> None:
    assert seconds_in(text) == seconds


def test_the_limits_of_our_own_policy_are_those_of_its_operators() -> None:
    health = policy_file.load(ROOT / "maintenance.toml").health
    assert health.database
    assert health.duration
    (rows,) = health.rows
    assert health.database.limits == Limits(good=21 * 2**30, warning=25 * 2**30, crisis=30 * 2**30)
    assert health.duration.limits == Limits(good=300, warning=600)
    assert (str(rows.table), rows.limits) == ("events", Limits(good=750_000, warning=1_000_000, crisis=1_500_000))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (SIZE.replace("21GB", "21"), "health.database.good: must be a size with its unit"),
        (SIZE.replace("21GB", "21 Gb"), "health.database.good: must be a size"),
        (SIZE.replace('"21GB"', "21"), "health.database.good: must be a size"),
        (SIZE.replace("21GB", "26GB"), "health.database: 'good', 'warning' and 'crisis' must be above zero"),
        (SIZE.replace("30GB", "1GB"), "health.database: 'good'"),
        (SIZE.replace("21GB", "0GB"), "health.database: 'good'"),
        ('database = { good = "1GB" }', "health.database.warning: is missing"),
        (SIZE.replace("good", "god"), "health.database.god is not a known key; did you mean 'good'"),
        (SIZE.replace("database", "databse"), "health.databse is not a known key; did you mean 'database'"),
        ('duration = { good = "5m", warning = "1 hour" }', "health.duration.good: must be a time with its unit"),
        ('duration = { good = "5 minutes", warning = "1 minute" }', "health.duration: 'good'"),
        ('duration = "5 minutes"', "health.duration: must be a table"),
        ('rows = [{ table = "t", good = 1.5, warning = 3 }]', "health.rows[1].good: must be a whole number"),
        ('rows = [{ table = "t;", good = 1, warning = 3 }]', "health.rows[1].table: The name"),
        ('rows = [{ table = "t", good = 1, warnin = 3 }]', "health.rows[1].warnin is not a known key; did you"),
        ('rows = [{ table = "t", good = 1, warning = 2 }, { table = "t", good = 1, warning = 2 }]', "names t twice"),
        ('rows = { table = "t", good = 1, warning = 3 }', "health.rows: must be a list"),
    ],
)  # fmt: skip
def test_wrong_limits_are_refused_with_their_place(text: str, told: str) -> None:
    with pytest.raises(PolicyError) as refused:
        policy_file.parse(f"[health]\n{text}\n")
    assert told in str(refused.value)


def test_there_is_one_section_of_that_name() -> None:
    with pytest.raises(PolicyError, match=r"\[\[health\]\] must be written \[health\]"):
        policy_file.parse("[[health]]\n")
