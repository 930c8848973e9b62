"""The page: what it says of a situation, that all text is escaped, and that nothing of it comes from outside."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from datetime import date, datetime, timedelta
from html.parser import HTMLParser

import pytest

from maintenance.bands import Limits
from maintenance.check.examination import LOOKS
from maintenance.findings import Finding, Severity
from maintenance.models import RunStatus, StepStatus, StopReason
from maintenance.report.axes import days, labelled, powers, ticks
from maintenance.report.figures import ago, amount, figure, size, span
from maintenance.report.page import html, security_policy
from maintenance.report.situation import Course, Curve, Gauge, NextRun, RuleLag, Situation
from maintenance.report.standing import NEEDED, State, standing
from maintenance.runs import Run
from tests.situations import NOW, RUN, SITUATION, STEP

EVIL = """<script>alert(1)</script> & "quoted" 'too' {{ 7*7 }} </style><img src=x onerror=y>"""
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Reader(HTMLParser):
    """What a browser would see: the elements, their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def evil() -> Situation:
    """Every text that comes from a name, a message or a person is an attack."""
    step = replace(
        STEP, task=EVIL, table=f"public.{EVIL}", strategy=EVIL, summary=EVIL, note=EVIL, error=EVIL, sqlstate=EVIL,
        status=StepStatus.FAILED, stop_reason=StopReason.ERROR,
    )  # fmt: skip
    quiet = replace(STEP, table=EVIL, rows=0)
    run = replace(
        RUN, name=EVIL, scheduler=EVIL, requested_by=EVIL, error=EVIL, note=EVIL, tables=(EVIL,), steps=(step, quiet),
        status=RunStatus.FAILED,
    )  # fmt: skip
    curve = (Curve(name=EVIL, points=((NOW.date() - DAY, 5.0), (NOW.date(), 7.0))),)
    return replace(
        SITUATION, database=EVIL, server=EVIL, pause=EVIL, runs=(run,), latest=(run,), begun=((EVIL, (NOW,)),),
        lags=(RuleLag(task=EVIL, table=EVIL, summary=EVIL, seconds=5e5, at=NOW, run_id=1),),
        next_runs=(NextRun(name=EVIL, schedule=EVIL, source=EVIL, at=NOW + HOUR),),
        gauges=(Gauge(name=EVIL, unit="rows", value=9.0, limits=Limits(good=1, warning=2), note=EVIL),),
        findings=tuple(
            Finding(severity=one, code=EVIL, subject=EVIL, fact=EVIL, consequence=EVIL, remedy=EVIL, cure=EVIL)
            for one in Severity
        ),
        course=Course(
            removed=curve, durations=curve, database_sizes=curve, table_sizes=curve, dead_rows=curve, lags=curve
        ),
    )  # fmt: skip


def test_no_text_becomes_markup() -> None:
    page = html(evil())
    seen = Reader(page)
    tags = {tag for tag, _ in seen.elements}
    assert not tags & {"script", "img", "iframe", "object", "embed", "form", "base"}
    assert [tag for tag, _ in seen.elements].count("style") == 1
    assert "{{ 7*7 }}" in seen.text
    assert seen.text.count("<script>alert(1)</script>") > 30
    assert not any(name.startswith("on") for _, attributes in seen.elements for name in attributes)


def test_nothing_comes_from_outside() -> None:
    page = html(evil())
    links = [
        value
        for _, attributes in Reader(page).elements
        for name, value in attributes.items()
        if name in ("src", "href")
    ]
    assert links == ["data:,"]
    assert "url(" not in page
    assert "@import" not in page
    assert not re.findall(r"https?://", page)


def test_the_security_policy_allows_the_pages_own_style_and_nothing_else() -> None:
    elements = Reader(html(SITUATION)).elements
    (told,) = [
        a["content"] for tag, a in elements if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert told == security_policy()
    assert told.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in told
    assert not any("style" in attributes for _, attributes in elements)


def run(**changed: object) -> Run:
    return replace(RUN, **changed)  # type: ignore[arg-type]


def lag(seconds: float, at: datetime = NOW) -> RuleLag:
    return RuleLag(task="retention", table="public.t", summary="", seconds=seconds, at=at, run_id=1)


def due(name: str, then: datetime | None) -> NextRun:
    return NextRun(name=name, schedule="", source="", at=None, due=then)


def gauge(name: str, unit: str, value: float | None, warning: float, crisis: float | None = None) -> Gauge:
    return Gauge(name=name, unit=unit, value=value, limits=Limits(good=1, warning=warning, crisis=crisis))


WELL: list[Situation] = [
    SITUATION,
    replace(SITUATION, latest=(run(status=RunStatus.RUNNING),)),
    replace(SITUATION, gauges=(gauge("g", "rows", 1.5, 2),)),
    replace(SITUATION, findings=()),
    replace(SITUATION, lags=(lag(86_400),)),
    # Nothing was left hours ago, also where an hour is the objective; a little that is not much older by now.
    replace(SITUATION, objective=3600.0, lags=(lag(0, NOW - 30 * HOUR),)),
    replace(SITUATION, objective=3 * 86_400.0, lags=(lag(0, NOW - 3 * DAY),)),
    replace(SITUATION, lags=(lag(3600, NOW - 22 * HOUR),)),
    # Looks that tell of speed and space, and of no run.
    replace(SITUATION, findings=(), unseen=("bloat: relation 1: no right", "indexes: whether: no right")),
    # Due, but not for long; begun a little early; never run, since it was put up just now.
    replace(SITUATION, next_runs=(due("daily-cleanup", NOW - HOUR / 2),)),
    replace(SITUATION, next_runs=(due("daily-cleanup", NOW - 2 * HOUR),),
            begun=(("daily-cleanup", (NOW - 2 * HOUR - timedelta(seconds=1),)),)),
    replace(SITUATION, next_runs=(due("weekly-vacuum", NOW - 2 * DAY),)),
    # Runs by hand, then none for days.
    replace(SITUATION, begun=(("daily-cleanup", tuple(NOW - 5 * DAY - n * HOUR / 9 for n in range(8))),)),
]  # fmt: skip


@pytest.mark.parametrize("situation", WELL)
def test_all_is_well(situation: Situation) -> None:
    found = standing(situation)
    assert (found.state, found.reasons) == (State.WELL, ())
    assert ">All well</p>" in html(situation)


def finding(severity: Severity) -> Finding:
    return Finding(severity=severity, code="c", subject="s", fact="It is so.", consequence="", remedy="")


ILL: list[tuple[Situation, str, str]] = [
    (replace(SITUATION, pause="all runs are paused"), "All runs are paused", "warning"),
    (replace(SITUATION, latest=(run(status=RunStatus.FAILED),)), "daily-cleanup failed (run 7, 6 h ago)", "crisis"),
    (replace(SITUATION, latest=(run(status=RunStatus.INTERRUPTED, stop_reason=StopReason.GUARD),)),
     "daily-cleanup was stopped by guard and left work (run 7, 6 h ago)", "warning"),
    (replace(SITUATION, gauges=(gauge("rows of t", "rows", 3e6, 2e6),)),
     "rows of t is in warning: 3 M, above 2 M", "warning"),
    (replace(SITUATION, gauges=(gauge("database", "bytes", 2**35, 2, 2**34),)),
     "database is in crisis: 32 GB, above 16 GB", "crisis"),
    (replace(SITUATION, lags=(lag(3 * 86_400),)),
     "retention of t is 3 days behind", "warning"),
    (replace(SITUATION, objective=60.0, lags=(lag(90),)),
     "retention of t is 1.5 min behind", "warning"),
    (replace(SITUATION, next_runs=(due("daily-cleanup", NOW - 4 * HOUR),)),
     "daily-cleanup was due 4 h ago and has not begun since; it last did 6 h ago", "warning"),
    (replace(SITUATION, begun=(("daily-cleanup", tuple(NOW - (4 + n) * DAY for n in range(8))),)),
     "daily-cleanup used to run every 1 day, and has not for 4 days", "warning"),
    (replace(SITUATION, next_runs=(due("daily-cleanup", None),),
             begun=(("daily-cleanup", tuple(NOW - (4 + n) * DAY for n in range(8))),)),
     "daily-cleanup used to run every 1 day, and has not for 4 days", "warning"),
    (replace(SITUATION, lags=(lag(3600, NOW - 24 * HOUR),)),
     "retention of t is 1 day behind: 1 h when run 1 left it, 1 day ago", "warning"),
    (replace(SITUATION, objective=3600.0, lags=(lag(1800, NOW - 6 * HOUR), lag(0, NOW - 6 * HOUR))),
     "retention of t is 6.5 h behind: 30 min when run 1 left it, 6 h ago", "warning"),
    (replace(SITUATION, lags=(lag(0, NOW - 37 * HOUR), lag(0, NOW - 48 * HOUR))),
     "no run has looked at retention of t for 2 days, nor at 1 more", "warning"),
    (replace(SITUATION, gauges=(replace(gauge("rows of t", "rows", None, 2), note="there is no such table here"),)),
     "rows of t has limits, and nobody knows how it stands: there is no such table here", "warning"),
    (replace(SITUATION, findings=(), unseen=("bloat: b: no", "runs: the last runs: no right", "schema: s: no")),
     "check could not look at the last runs: no right, nor at 1 more", "warning"),
    (replace(SITUATION, latest=(run(tables=("a", "b", "c"), status=RunStatus.FAILED),)),
     "daily-cleanup of a, b and 1 more failed (run 7, 6 h ago)", "crisis"),
    (replace(SITUATION, findings=(finding(Severity.ERROR), finding(Severity.ADVICE))),
     "check found 1 error: It is so", "crisis"),
    (replace(SITUATION, findings=(finding(Severity.WARNING), finding(Severity.WARNING))),
     "check found 2 warnings: It is so", "warning"),
]  # fmt: skip


@pytest.mark.parametrize(("situation", "reason", "tone"), ILL)
def test_what_needs_attention_says_why(situation: Situation, reason: str, tone: str) -> None:
    found = standing(situation)
    assert (found.state, found.reasons) == (State.ATTENTION, (reason,))
    page = html(situation)
    assert f'<section class="state {tone}"' in page
    assert f"<li>{reason}</li>" in page


def test_a_ledger_without_runs_and_none_at_all_are_told_apart() -> None:
    empty = replace(SITUATION, runs=(), latest=(), begun=(), lags=(), course=Course())
    assert standing(empty).state is State.NOTHING
    # What the check says of it is no other reason.
    looked = replace(empty, findings=(replace(finding(Severity.WARNING), code="runs.never"),))
    assert standing(looked).state is State.NOTHING
    assert "The ledger has no runs yet." in html(empty)
    assert "There is no ledger in this database" in html(replace(empty, ledger=False))


def test_what_is_overdue_is_said_only_where_the_hours_are_known() -> None:
    known, unknown = due("daily-cleanup", NOW - 6 * HOUR), due("weekly-vacuum", None)
    assert "and none is overdue" in html(replace(SITUATION, next_runs=(known,)))
    assert "and none is overdue" not in html(replace(SITUATION, next_runs=(known, unknown)))


def test_before_the_first_run_nobody_can_know_its_duration() -> None:
    empty = replace(SITUATION, runs=(), latest=(), begun=(), lags=(), gauges=(gauge("duration", "seconds", None, 2),))
    assert standing(empty).state is State.NOTHING


def test_the_looks_that_must_have_been_seen_are_looks_of_the_check() -> None:
    assert set(NEEDED) < {look.name for look in LOOKS}


def test_of_many_reasons_the_first_are_told() -> None:
    many = tuple(run(id=n, name=f"run-{n}", status=RunStatus.FAILED) for n in range(20))
    reasons = standing(replace(SITUATION, latest=many)).reasons
    assert (len(reasons), reasons[-1]) == (9, "and 12 more reasons below")


def test_a_page_with_all_that_may_be_in_it_is_bounded() -> None:
    long = "x" * 100_000
    step = replace(STEP, error=long, note=long, summary=long, status=StepStatus.FAILED)
    runs = tuple(run(id=n, error=long, note=long, steps=(step,) * 5) for n in range(30))
    assert len(html(replace(SITUATION, runs=runs, latest=runs[:20]))) < 1_500_000


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (9_999, "9,999"), (12_345, "12.3 k"), (999_950, "1 M"), (1.2e6, "1.2 M"), (3e9, "3 G")],
)
def test_an_amount(number: float, text: str) -> None:
    assert amount(number) == text == figure(number, "rows")


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (1023, "1023 B"), (8192, "8 kB"), (24.4 * 2**30, "24.4 GB"), (1023.9 * 2**20, "1 GB")],
)
def test_a_size(number: float, text: str) -> None:
    assert size(number) == text == figure(number, "bytes")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0"),
        (0.02, "20 ms"),
        (1.5, "1.5 s"),
        (59.99, "1 min"),
        (180, "3 min"),
        (5400, "1.5 h"),
        (86_400, "1 day"),
        (1e6, "12 days"),
    ],
)
def test_a_time(seconds: float, text: str) -> None:
    assert span(seconds) == text == figure(seconds, "seconds")


def test_an_instant_is_told_from_now() -> None:
    assert [ago(NOW - HOUR, NOW), ago(NOW + HOUR, NOW), ago(NOW, NOW)] == ["1 h ago", "in 1 h", "just now"]


@pytest.mark.parametrize("unit", ["rows", "bytes", "seconds"])
@pytest.mark.parametrize("most", [0, 0.004, 1, 3, 17, 480, 7_310, 86_400, 3e6, 2.6e10, 1e15])
def test_the_labels_of_an_axis_begin_at_zero_rise_and_hold_the_largest_figure(most: float, unit: str) -> None:
    marks = ticks(most, unit)
    assert (marks[0], marks == sorted(set(marks))) == (0, True)
    assert 2 <= len(marks) <= 6
    assert marks[-1] >= most * (1 - 1e-9)


@pytest.mark.parametrize("unit", ["rows", "seconds"])
@pytest.mark.parametrize(
    ("least", "most"), [(0.001, 0.002), (0.3, 480), (5, 6), (1, 1), (60, 60), (1e6, 1e7), (1e9, 1e9), (1e20, 1e20)]
)
def test_the_labels_of_a_logarithmic_axis_are_at_least_two_and_rise(least: float, most: float, unit: str) -> None:
    marks = powers(least, most, unit)
    assert len(marks) >= 2
    assert marks == sorted(marks)


def test_a_plot_shows_a_fortnight_at_least_and_labels_the_last_day() -> None:
    today = date(2026, 3, 1)
    assert len(days(today, today)) == 14
    assert len(days(today - timedelta(days=89), today)) == 90
    for first in (today, today - timedelta(days=89)):
        labels = labelled(days(first, today))
        assert labels[-1] == today
        assert 3 <= len(labels) <= 5


def test_to_draw_leaves_nothing_in_the_way_of_other_imports() -> None:
    assert "<svg" in html(SITUATION)
    assert [finder for finder in sys.meta_path if not hasattr(finder, "find_spec")] == []
