"""A window: the hours of the week in which something may be done, by the clock on a wall in some zone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_OPENING = re.compile(r"(?:(?P<days>\S+)\s+)?(?P<start>\d\d:\d\d)-(?P<end>\d\d:\d\d)\s+(?P<zone>[A-Za-z]\S*)", re.ASCII)
_LIKE = "write it like 'Sun 02:00-05:00 Europe/Vienna'"
_AHEAD = 15
"""Days that are looked at: a week, and another one for an opening that a change of the clocks has swallowed."""
_MIDNIGHT = 24 * 60
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """One time of the day on some days of the week."""

    text: str
    days: tuple[int, ...]
    """On which it begins; Monday is 0."""
    start: int
    """Minutes after midnight."""
    end: int
    """The same; beyond 24 hours where it ends on the next day."""
    zone: str

    def on(self, day: date) -> tuple[datetime, datetime] | None:
        """From when to when it is open, in UTC, where it begins on that day; None where it does not.

        A time that the clocks skip is the moment of the skip. Of one that comes twice, the opening begins at the second
        and ends at the first, unless it would be over before it began; so it is never open while the clock on the wall
        is outside it, and never twice.
        """
        if day.weekday() not in self.days:
            return None
        zone = _zone(self.zone)
        begins = _instants(day, self.start, zone)[-1]
        ends = next((instant for instant in _instants(day, self.end, zone) if instant > begins), None)
        return None if ends is None else (begins, ends)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Some openings; it is open while one of them is."""

    openings: tuple[Opening, ...]

    def __str__(self) -> str:
        return " or ".join(opening.text for opening in self.openings)

    def left(self, now: datetime) -> float:
        """Seconds until it closes, where one opening that takes over from another goes on; 0 where it is closed."""
        end = now
        while later := [ends for begins, ends in self._around(end, 2) if begins <= end < ends]:
            end = max(later)
            if end - now > timedelta(days=7):
                break
        return (end - now).total_seconds()

    def next(self, now: datetime) -> datetime | None:
        """When it opens next, in UTC; None where it does not within two weeks."""
        return min((begins for begins, _ in self._around(now, _AHEAD) if begins > now), default=None)

    def closed(self, now: datetime) -> str | None:
        """Why nothing may be begun, in words; None while it is open."""
        if self.left(now) > 0:
            return None
        opens = self.next(now)
        when = "" if opens is None else f", and opens at {self._shown(opens)}"
        return f"the window is {self}{when}"

    def _shown(self, instant: datetime) -> str:
        """An instant in the zone of its opening, and in UTC."""
        for opening in self.openings:
            local = instant.astimezone(_zone(opening.zone))
            if any(instant == span[0] for span in self._spans(opening, instant, 2)):
                return f"{local:%a %Y-%m-%d %H:%M} {opening.zone} ({instant:%a %H:%M} UTC)"
        return f"{instant:%a %Y-%m-%d %H:%M} UTC"

    def _around(self, now: datetime, ahead: int) -> list[tuple[datetime, datetime]]:
        return [span for opening in self.openings for span in self._spans(opening, now, ahead)]

    @staticmethod
    def _spans(opening: Opening, now: datetime, ahead: int) -> list[tuple[datetime, datetime]]:
        today = now.astimezone(_zone(opening.zone)).date()
        spans = [opening.on(today + timedelta(days=n)) for n in range(-2, ahead)]
        return [span for span in spans if span is not None]


def parse(texts: str | list[str]) -> Window:
    """One opening or several, such as `Sun 02:00-05:00 Europe/Vienna` or `Mon-Fri,Sun 22:00-04:00 UTC`.

    Without days it is every day. One that ends before it begins goes on into the next day.

    Raises:
        ValueError: no days, times or zone; the message says what to write.
    """
    given = [texts] if isinstance(texts, str) else texts
    if not given:
        raise ValueError(f"is empty; {_LIKE}")
    return Window(openings=tuple(_opening(text) for text in given))


def _opening(text: str) -> Opening:
    found = _OPENING.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no window; {_LIKE}")
    start, end = (_minutes(found[name], text) for name in ("start", "end"))
    if start == end:
        raise ValueError(f"{text!r} ends when it begins; for a whole day write 00:00-24:00")
    if start == _MIDNIGHT:
        raise ValueError(f"{text!r} begins at 24:00; write 00:00 of the next day")
    if _found(found["zone"]) is None:
        raise ValueError(f"{text!r} has no zone that is known here; name one of IANA's, such as Europe/Vienna or UTC")
    return Opening(
        text=" ".join(text.split()), days=_days(found["days"], text), start=start,
        end=end if end > start else end + _MIDNIGHT, zone=found["zone"],
    )  # fmt: skip


def _minutes(clock: str, text: str) -> int:
    hours, minutes = (int(part) for part in clock.split(":"))
    total = hours * 60 + minutes
    if minutes > 59 or total > _MIDNIGHT:
        raise ValueError(f"{text!r} has the time {clock}; times go from 00:00 to 24:00")
    return total


def _days(text: str | None, whole: str) -> tuple[int, ...]:
    if text is None or text.lower() == "daily":
        return tuple(range(7))
    days: set[int] = set()
    for part in text.lower().split(","):
        first, dash, last = part.partition("-")
        if first not in _DAYS or (dash and last not in _DAYS):
            raise ValueError(f"{whole!r} has the days {text!r}; they are Mon to Sun, as Mon,Wed or Mon-Fri, or daily")
        one, other = _DAYS.index(first), _DAYS.index(last or first)
        days.update((one + step) % 7 for step in range((other - one) % 7 + 1))
    return tuple(sorted(days))


def _zone(name: str) -> tzinfo:
    zone = _found(name)
    if zone is None:
        raise AssertionError(f"the zone {name} was known when the policy was read")
    return zone


def _found(name: str) -> tzinfo | None:
    # Only a policy with a window needs it, and it is not for nothing when a function starts.
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def _instants(day: date, minutes: int, zone: tzinfo) -> list[datetime]:
    """The moments in UTC at which the clock on the wall shows that time of that day: one, or two where it comes twice.

    Where it never comes, the moment at which the clocks skip it.
    """
    wall = datetime(day.year, day.month, day.day) + timedelta(minutes=minutes)  # noqa: DTZ001 - what a wall shows
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return [first]
    if first < second:
        return [first, second]
    return [_skip(second, first, zone)]


def _skip(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """The second between the two, in UTC, from which on the zone's offset is that of `after`."""
    offset = before.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + (after - before) // 2
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)
