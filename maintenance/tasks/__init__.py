"""The tasks in running order, and the groups of them that are scheduled together."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from maintenance.errors import UsageError
from maintenance.runs import DEFAULT_GROUP
from maintenance.tasks import duplicates, orphans, retention, shrink, statistics, unreferenced, vacuum
from maintenance.tasks.survey import Task

TASKS: tuple[Task, ...] = (
    retention.TASK,
    duplicates.TASK,
    orphans.TASK,
    unreferenced.TASK,
    vacuum.TASK,
    shrink.TASK,
    statistics.TASK,
)

GROUPS: dict[str, tuple[str, ...]] = {
    "daily-cleanup": ("retention", "duplicates", "orphans", "unreferenced", "statistics"),
    "weekly-vacuum": ("vacuum", "shrink", "statistics"),
}


def selected(names: Iterable[str]) -> tuple[Task, ...]:
    """The tasks that these names of tasks and groups stand for, in running order; none stands for daily-cleanup.

    Raises:
        UsageError: a name is neither.
    """
    wanted: set[str] = set()
    known = [*(task.name for task in TASKS), *GROUPS]
    for name in list(names) or [DEFAULT_GROUP]:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}."
            raise UsageError(f"There is no task or group {name!r}; {hint}")
        wanted.update(GROUPS.get(name, (name,)))
    return tuple(task for task in TASKS if task.name in wanted)


def only_changed(names: Iterable[str]) -> bool:
    """Whether statistics are to follow the other tasks' deletes only: asked for by no more than daily-cleanup."""
    given = list(names) or [DEFAULT_GROUP]
    return "statistics" not in given and "weekly-vacuum" not in given
