"""Arguments: the words of the command line, and what `--help` says of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from maintenance.variables import SETTINGS

Act = Callable[[argparse.Namespace], int]
_DESCRIPTION = """\
Maintain a PostgreSQL database by a policy file: delete what is old, duplicate, orphaned or unreferenced, vacuum, and
keep statistics fresh; in short committed batches, inside a time budget, written down in a ledger."""
_EPILOG = """\
NAME is a task (retention, duplicates, orphans, unreferenced, vacuum, shrink, statistics) or a group: daily-cleanup (the
first four, and statistics of the tables that they changed; the default) or weekly-vacuum (vacuum, shrink, statistics).

The database is the one of libpq's variables: PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD, PGPASSFILE, PGSSLMODE,
PGSSLROOTCERT. Our own settings start with MAINTENANCE_:
{settings}

Exit codes: 0 all done; 1 a step failed or left something for longer than lag_objective, the connection was lost, or
check found an error; 2 wrong use, settings or policy, or no connection to begin with; 3 stopped with work left (budget,
lock, guard, lag, paused); 4 skipped, another run holds the lease."""


def parser(acts: Mapping[str, Act]) -> argparse.ArgumentParser:
    """The parser of all verbs; `acts` are what they do, by name."""
    lines = [f"  {s.name:<28} {s.meaning} [{s.default or 'unset'}]" for s in SETTINGS]
    top = argparse.ArgumentParser(
        prog="python -m maintenance", description=_DESCRIPTION, epilog=_EPILOG.format(settings="\n".join(lines)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    verbs = _Verbs(top.add_subparsers(title="verbs", metavar="VERB", required=True), acts)
    _of_runs(verbs)
    _of_what_is(verbs)
    install = verbs.add("install", "Make the ledger's schema, or put the policy into pg_cron; safe to repeat.")
    install.add_argument("--pg-cron", action="store_true", help="compile the policy, and let pg_cron run it")
    install.add_argument("--remove", action="store_true", help="take it out of pg_cron again; the ledger stays")
    pause = verbs.add("pause", "Pause all runs of the database, whoever schedules them, from their next batch on.")
    pause.add_argument("--reason", metavar="TEXT", help="why, for those who wonder")
    verbs.add("resume", "Let runs begin again.")
    _of_archives(verbs)
    scripts = verbs.among("sql", "Print SQL for an administrator to run. Reads only.")
    grants = scripts.add("grants", "Print the grants that a role needs for the policy, and no others.")
    grants.add_argument("--role", metavar="NAME", required=True, help="the role; it need not exist yet")
    compiled = scripts.add("pg-cron", "Print the policy compiled to procedures, and the jobs that call them.")
    for added in (install, compiled):
        added.add_argument("--daily", metavar="CRON", help="when to clean up, in GMT (default: 0 2 * * *)")
        added.add_argument("--weekly", metavar="CRON", help="when the first VACUUM begins, in GMT (default: 0 3 * * 0)")
        added.add_argument(
            "--cron-database", metavar="NAME", help="where pg_cron keeps its jobs, if the server would not tell"
        )
    text = "Start a PostgreSQL of its own, fill it with a demo fleet, and maintain it before your eyes."
    verbs.add("demo", text, targeted=False)
    return top


def _of_runs(verbs: _Verbs) -> None:
    for name, text in (
        ("plan", "Show what a run would do, with counts. Reads only."),
        ("run", "Do it: delete in batches, write down each batch, stop within the budget."),
    ):
        added = verbs.add(name, text)
        added.add_argument("names", metavar="NAME", nargs="*", help="tasks or groups (default: daily-cleanup)")
        added.add_argument("--tables", metavar="A,B", help="only these tables")
        added.add_argument(
            "--summary", metavar="FILE", help="write what came of it as Markdown behind what FILE has already"
        )
        if name == "run":
            added.add_argument(
                "--approve", metavar="PLAN", help="let pass what limits stopped, as the plan's last line says"
            )
            added.add_argument("--budget", metavar="TIME", help="how long it may take, such as 8m (MAINTENANCE_BUDGET)")


def _of_what_is(verbs: _Verbs) -> None:
    check = verbs.add("check", "Find what stands in the way of the policy, or will: one finding a line. Reads only.")
    check.add_argument("--fix-script", metavar="FILE", help="write the SQL that cures what was found; it is not run")
    history = verbs.add("history", "Show the last runs from the ledger.")
    history.add_argument("--limit", metavar="N", type=_positive, default=20, help="how many runs (default: 20)")
    history.add_argument("--run", metavar="ID", type=_positive, help="one run with its steps")
    report = verbs.add("report", "Show how things stand: lag, health, last and next runs. Changes nothing.")
    report.add_argument("--out", metavar="FILE", help="write it as one HTML page, with plots and each run; - prints it")


def _of_archives(verbs: _Verbs) -> None:
    archives = verbs.add("archives", "List what is in the archives of the policy's rules. Changes nothing.")
    archives.add_argument("--run", metavar="ID", type=_positive, help="those of one run")
    restore = verbs.add("restore", "Bring back the rows that a run has archived and deleted; safe to repeat.")
    restore.add_argument("--run", metavar="ID", type=_positive, required=True, help="the run; `archives` lists them")
    restore.add_argument("--table", metavar="T", help="only the rows of this table")
    restore.add_argument("--into", metavar="OTHER", help="into another table that has the same columns")
    for added in (archives, restore):
        added.add_argument("--archive", metavar="WHERE", help="azure-blob or file:///path, also where no rule names it")
        added.add_argument(
            "--origin", metavar="SERVER/DATABASE", help="the database that it is of, where that is not this one"
        )


class _Verbs:
    """Verbs of one rank, each with what all have."""

    def __init__(self, parsers: Any, acts: Mapping[str, Act], above: str = "") -> None:
        self._parsers = parsers
        self._acts = acts
        self._above = above

    def add(self, name: str, text: str, *, targeted: bool = True) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = self._parsers.add_parser(name, help=text, description=text)
        added.add_argument(
            "--json", action="store_true", help="print one JSON document and nothing else on standard output"
        )
        added.add_argument("--debug", action="store_true", help="show the traceback of an error")
        if targeted:
            added.add_argument("--target", metavar="NAME", help="a database of the file in MAINTENANCE_TARGETS")
        added.set_defaults(verb=self._acts[f"{self._above} {name}".strip()])
        return added

    def among(self, name: str, text: str) -> _Verbs:
        """Verbs below one of this rank."""
        below = self._parsers.add_parser(name, help=text, description=text)
        return _Verbs(below.add_subparsers(title="scripts", metavar="SCRIPT", required=True), self._acts, name)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 19 and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero, of at most 18 digits")
    return int(text)
