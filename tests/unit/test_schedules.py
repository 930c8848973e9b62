"""When a run is due, by the expressions of both schedulers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from maintenance.schedules import around

NOW = datetime(2026, 11, 28, 8, 0, tzinfo=UTC)  # a Saturday


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


@pytest.mark.parametrize(
    ("expression", "before", "after"),
    [
        ("0 0 2 * * *", "2026-11-28T02:00", "2026-11-29T02:00"),
        ("30 0 3 * * 0", "2026-11-22T03:00:30", "2026-11-29T03:00:30"),
        ("0 0 3 * * Sun", "2026-11-22T03:00", "2026-11-29T03:00"),
        ("0 */5 * * * *", "2026-11-28T07:55", "2026-11-28T08:05"),
        ("0 30 9 * Jan Mon", "2026-01-26T09:30", "2027-01-04T09:30"),
        # Both, as NCRONTAB has it: a Monday that is the first.
        ("0 30 9 1 * Mon", "2026-06-01T09:30", "2027-02-01T09:30"),
    ],
)
def test_a_timer(expression: str, before: str, after: str) -> None:
    assert around(expression, NOW, both=True) == (at(before), at(after))


@pytest.mark.parametrize(
    ("expression", "before", "after"),
    [
        ("0 2 * * *", "2026-11-28T02:00", "2026-11-29T02:00"),
        ("0 3 L * *", "2026-10-31T03:00", "2026-11-30T03:00"),
        # Either, as cron has it: each first, and each Monday.
        ("30 9 1 * Mon", "2026-11-23T09:30", "2026-11-30T09:30"),
    ],
)
def test_a_job_of_pg_cron(expression: str, before: str, after: str) -> None:
    assert around(expression, NOW, both=False) == (at(before), at(after))


@pytest.mark.parametrize(
    ("zone", "before", "after"),
    [
        ("America/New_York", "2026-11-28T07:00", "2026-11-29T07:00"),
        ("Asia/Kolkata", "2026-11-27T20:30", "2026-11-28T20:30"),
        ("GMT", "2026-11-28T02:00", "2026-11-29T02:00"),
    ],
)
def test_the_hours_of_a_zone(zone: str, before: str, after: str) -> None:
    assert around("0 2 * * *", NOW, both=False, zone=zone) == (at(before), at(after))


def test_a_zone_whose_clocks_change_in_between() -> None:
    midday = datetime(2026, 10, 24, 12, 0, tzinfo=UTC)
    found = around("0 2 * * *", midday, both=False, zone="Europe/Vienna")
    assert found == (at("2026-10-24T00:00"), at("2026-10-25T00:00"))


@pytest.mark.parametrize("zone", ["Nowhere/Here", "../etc/passwd", "", "CET-1CEST"])
def test_a_zone_that_this_machine_does_not_know_tells_no_instant(zone: str) -> None:
    assert around("0 2 * * *", NOW, both=False, zone=zone) == (None, None)


@pytest.mark.parametrize(
    "expression", ["", "x", "00:10:00", "30 seconds", "@daily", "99 0 2 * * *", "0 0 0 30 2 *", "a b c d e"]
)
def test_what_is_no_schedule_or_never_due_tells_no_instant(expression: str) -> None:
    assert around(expression, NOW, both=True) == (None, None)
