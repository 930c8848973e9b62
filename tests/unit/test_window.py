"""Windows: how they are written, and when they are open, over real changes of the clocks."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from maintenance import policy_file
from maintenance.errors import PolicyError
from maintenance.window import parse


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


_SPANS = [
    # An ordinary day, in winter and in summer.
    ("Sun 02:00-05:00 Europe/Vienna", "2026-11-01", "2026-11-01 01:00", "2026-11-01 04:00"),
    ("Sun 02:00-05:00 Europe/Vienna", "2026-07-05", "2026-07-05 00:00", "2026-07-05 03:00"),
    # Vienna skips 02:00 to 03:00 on 29 March: what was skipped is the moment of the skip.
    ("Sun 02:00-05:00 Europe/Vienna", "2026-03-29", "2026-03-29 01:00", "2026-03-29 03:00"),
    ("Sun 02:30-05:00 Europe/Vienna", "2026-03-29", "2026-03-29 01:00", "2026-03-29 03:00"),
    ("Sun 01:30-02:30 Europe/Vienna", "2026-03-29", "2026-03-29 00:30", "2026-03-29 01:00"),
    ("Sun 02:15-02:45 Europe/Vienna", "2026-03-29", None, None),
    ("Sun 00:00-24:00 Europe/Vienna", "2026-03-29", "2026-03-28 23:00", "2026-03-29 22:00"),
    # It has 02:00 to 03:00 twice on 25 October: an opening begins in the second, and ends in the first.
    ("Sun 02:00-05:00 Europe/Vienna", "2026-10-25", "2026-10-25 01:00", "2026-10-25 04:00"),
    ("Sun 02:30-05:00 Europe/Vienna", "2026-10-25", "2026-10-25 01:30", "2026-10-25 04:00"),
    ("Sun 01:30-02:30 Europe/Vienna", "2026-10-25", "2026-10-24 23:30", "2026-10-25 00:30"),
    ("Sun 02:15-02:45 Europe/Vienna", "2026-10-25", "2026-10-25 01:15", "2026-10-25 01:45"),
    ("Sun 01:00-05:00 Europe/Vienna", "2026-10-25", "2026-10-24 23:00", "2026-10-25 04:00"),
    ("Sat 22:00-04:00 Europe/Vienna", "2026-10-24", "2026-10-24 20:00", "2026-10-25 03:00"),
    ("Sat 22:00-02:30 Europe/Vienna", "2026-03-28", "2026-03-28 21:00", "2026-03-29 01:00"),
    # New York: 8 March and 1 November.
    ("Sun 01:00-04:00 America/New_York", "2026-03-08", "2026-03-08 06:00", "2026-03-08 08:00"),
    ("Sun 02:30-03:30 America/New_York", "2026-03-08", "2026-03-08 07:00", "2026-03-08 07:30"),
    ("Sun 01:00-04:00 America/New_York", "2026-11-01", "2026-11-01 06:00", "2026-11-01 09:00"),
    # Lord Howe moves its clocks by half an hour: 5 April and 4 October.
    ("Sun 01:30-03:00 Australia/Lord_Howe", "2026-04-05", "2026-04-04 15:00", "2026-04-04 16:30"),
    ("Sun 01:00-03:00 Australia/Lord_Howe", "2026-04-05", "2026-04-04 14:00", "2026-04-04 16:30"),
    ("Sun 02:15-03:00 Australia/Lord_Howe", "2026-10-04", "2026-10-03 15:30", "2026-10-03 16:00"),
    ("Sun 02:00-02:30 Australia/Lord_Howe", "2026-10-04", None, None),
    # Apia left out the whole of 30 December 2011.
    ("Fri 02:00-05:00 Pacific/Apia", "2011-12-30", None, None),
    # Zones without changes.
    ("Sun 02:00-05:00 UTC", "2026-03-29", "2026-03-29 02:00", "2026-03-29 05:00"),
    ("Sun 02:00-05:00 Asia/Kolkata", "2026-10-25", "2026-10-24 20:30", "2026-10-24 23:30"),
]


@pytest.mark.parametrize(("text", "day", "begins", "ends"), _SPANS)
def test_when_it_is_open_on_a_day(text: str, day: str, begins: str | None, ends: str | None) -> None:
    span = parse(text).openings[0].on(date.fromisoformat(day))
    assert span == (None if begins is None or ends is None else (instant(begins), instant(ends)))


@pytest.mark.parametrize("zone", ["Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"])
@pytest.mark.parametrize("times", ["01:30-02:30", "02:00-03:00", "00:30-05:15", "22:00-02:15"])
def test_it_is_never_open_while_the_clock_on_the_wall_is_outside_it_and_never_twice_a_day(
    zone: str, times: str
) -> None:
    """Every five minutes of the three days around each change of 2026."""
    window, start, end = parse(f"daily {times} {zone}"), times[:5], times[6:]
    for change in changes(ZoneInfo(zone)):
        now, was_open, opened = change - timedelta(hours=36), window.left(change - timedelta(hours=36)) > 0, 0
        for _ in range(3 * 24 * 12):
            is_open = window.left(now) > 0
            if is_open:
                wall = f"{now.astimezone(ZoneInfo(zone)):%H:%M}"
                assert (start <= wall < end) if start < end else (wall >= start or wall < end)
            opened += is_open and not was_open
            was_open, now = is_open, now + timedelta(minutes=5)
        assert 2 <= opened <= 3


def changes(zone: ZoneInfo) -> list[datetime]:
    """The hours of 2026 in which the zone changes; some hour where it does not."""
    hours = [instant("2026-01-01 00:00") + timedelta(hours=n) for n in range(365 * 24)]
    offsets = [hour.astimezone(zone).utcoffset() for hour in hours]
    return [hours[n] for n in range(1, len(hours)) if offsets[n] != offsets[n - 1]] or [hours[5000]]


_LEFT = [
    ("Sun 02:00-05:00 UTC", "2026-11-01 01:59:59", 0.0),
    ("Sun 02:00-05:00 UTC", "2026-11-01 02:00:00", 10_800.0),
    ("Sun 02:00-05:00 UTC", "2026-11-01 04:59:30", 30.0),
    ("Sun 02:00-05:00 UTC", "2026-11-01 05:00:00", 0.0),
    ("Sun 02:00-05:00 UTC", "2026-11-02 03:00:00", 0.0),
    ("Sat 22:00-04:00 UTC", "2026-11-01 03:00:00", 3600.0),
    ("Sat 22:00-04:00 UTC", "2026-10-31 03:00:00", 0.0),
]


@pytest.mark.parametrize(("text", "now", "left"), _LEFT)
def test_what_is_left_of_it(text: str, now: str, left: float) -> None:
    assert parse(text).left(instant(now)) == left


def test_one_opening_takes_over_from_another() -> None:
    window = parse(["Sat 22:00-24:00 UTC", "Sun 00:00-04:00 UTC", "Sun 03:00-05:00 UTC"])
    assert window.left(instant("2026-10-31 23:00")) == 6 * 3600
    assert parse("daily 00:00-24:00 UTC").left(instant("2026-10-31 23:00")) > 7 * 86_400


def test_when_it_opens_next_is_said_in_its_own_zone_and_in_utc() -> None:
    window = parse("Sun 02:00-05:00 Europe/Vienna")
    assert window.next(instant("2026-10-20 12:00")) == instant("2026-10-25 01:00")
    assert window.closed(instant("2026-10-25 02:00")) is None
    assert window.closed(instant("2026-10-20 12:00")) == (
        "the window is Sun 02:00-05:00 Europe/Vienna, and opens at Sun 2026-10-25 02:00 Europe/Vienna (Sun 01:00 UTC)"
    )


_DAYS = [
    ("02:00-05:00 UTC", (0, 1, 2, 3, 4, 5, 6)),
    ("daily 02:00-05:00 UTC", (0, 1, 2, 3, 4, 5, 6)),
    ("Mon 02:00-05:00 UTC", (0,)),
    ("sun,WED 02:00-05:00 UTC", (2, 6)),
    ("Mon-Fri 02:00-05:00 UTC", (0, 1, 2, 3, 4)),
    ("Fri-Mon 02:00-05:00 UTC", (0, 4, 5, 6)),
    ("Mon-Tue,Sat 02:00-05:00 UTC", (0, 1, 5)),
]


@pytest.mark.parametrize(("text", "days"), _DAYS)
def test_its_days(text: str, days: tuple[int, ...]) -> None:
    assert parse(text).openings[0].days == days


_WRONG = [
    ('"Sun 2:00-5:00 UTC"', "is no window; write it like 'Sun 02:00-05:00 Europe/Vienna'"),
    ('"Sun 02:00-05:00"', "is no window"),
    ('""', "is no window"),
    ('"Sun 02:00-25:00 UTC"', "has the time 25:00; times go from 00:00 to 24:00"),
    ('"Sun 02:60-05:00 UTC"', "has the time 02:60"),
    ('"Sun 02:00-02:00 UTC"', "for a whole day write 00:00-24:00"),
    ('"Sun 24:00-02:00 UTC"', "begins at 24:00"),
    ('"Son 02:00-05:00 UTC"', "has the days 'Son'; they are Mon to Sun"),
    ('"Mon- 02:00-05:00 UTC"', "has the days 'Mon-'"),
    ('"Sun 02:00-05:00 Europe/Wien"', "has no zone that is known here"),
    ('"Sun 02:00-05:00 ../etc/passwd"', "is no window"),
    ('"Sun 02:00-05:00 E/../../etc/passwd"', "has no zone that is known here"),
    ("[]", "is empty; write it like"),
    ("3", "must be a string like 'Sun 02:00-05:00 Europe/Vienna', or a list of such"),
    ("[3]", "must be a string like"),
    ("true", "must be a string like"),
]


@pytest.mark.parametrize(("value", "why"), _WRONG)
@pytest.mark.parametrize(("section", "place"), [("[vacuum]", "vacuum"), ('[[shrink]]\ntables = ["t"]', "shrink[1]")])
def test_what_is_no_window_is_refused_with_its_place(value: str, why: str, section: str, place: str) -> None:
    with pytest.raises(PolicyError) as raised:
        policy_file.parse(f"{section}\nwindow = {value}\n")
    assert f"{place}.window: " in str(raised.value)
    assert why in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_a_policy_takes_one_window_or_several() -> None:
    one = policy_file.parse('[vacuum]\nwindow = "Sun  02:00-05:00  Europe/Vienna"').vacuum.window
    assert str(one) == "Sun 02:00-05:00 Europe/Vienna"
    two = policy_file.parse('[vacuum]\nwindow = ["Sat 22:00-24:00 UTC", "Sun 02:00-05:00 UTC"]').vacuum.window
    assert str(two) == "Sat 22:00-24:00 UTC or Sun 02:00-05:00 UTC"
    assert policy_file.parse('[vacuum]\nwindow = "02:00-05:00 UTC"').model_dump(mode="json")["vacuum"]["window"]
