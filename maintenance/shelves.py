"""Shelves: the verbs `archives` and `restore`, and what they show."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import asdict
from itertools import groupby

from rich.console import Console
from rich.markup import escape

from maintenance.amounts import size
from maintenance.answer import Answer
from maintenance.archive.shelf import Entry
from maintenance.console import grid_of, short, show_grid
from maintenance.documents import Document
from maintenance.recovery import Listing, Recovery, Sought, archived, restored
from maintenance.settings import Settings


def archives(options: argparse.Namespace, settings: Settings) -> Answer:
    """What is in the archives."""
    listing = asyncio.run(archived(_sought(options), settings))
    document = {
        "origin": str(listing.origin),
        "archives": [_document(entry) for entry in listing.entries],
        "others": [str(origin) for origin in listing.others],
    }
    return Answer(document=document, show=lambda console: _show_listing(console, listing))


def restore(options: argparse.Namespace, settings: Settings) -> Answer:
    """The rows of a run back in their tables."""
    recovery = asyncio.run(restored(_sought(options), settings, options.table, options.into))
    document = {
        "run": recovery.run,
        "restored": [asdict(one) for one in recovery.restored],
        "left": [_document(entry) for entry in recovery.left],
    }
    return Answer(document=document, show=lambda console: _show_recovery(console, recovery))


def _sought(options: argparse.Namespace) -> Sought:
    return Sought(run=options.run, archive=options.archive, origin=options.origin)


def _document(entry: Entry) -> Document:
    manifest = entry.manifest
    return {
        "run": manifest.run if manifest else None,
        "task": manifest.task if manifest else None,
        "table": str(manifest.whole) if manifest else None,
        "rows": manifest.rows if manifest else None,
        "bytes": manifest.size if manifest else None,
        "stored_at": manifest.created_at if manifest else None,
        "state": entry.standing,
        "store": entry.store.where,
        "object": entry.object,
    }


def _show_listing(console: Console, listing: Listing) -> None:
    grid = grid_of(
        ("run", "right"), "table", "task", ("objects", "right"), ("rows", "right"), ("size", "right"), "stored (UTC)",
        "state", "where",
    )  # fmt: skip
    for (run, task, table, state, where), group in groupby(sorted(listing.entries, key=_line), key=_line):
        together = [entry.manifest for entry in group]
        known = [manifest for manifest in together if manifest is not None]
        when = max((manifest.created_at for manifest in known), default="")[:19].replace("T", " ")
        grid.add_row(
            str(run or ""), escape(short(table)), task, f"{len(together):,}", f"{sum(m.rows for m in known):,}",
            size(sum(m.size for m in known)), when, state, escape(where),
        )  # fmt: skip
    if grid.row_count:
        show_grid(console, grid)
    else:
        console.print(f"The archives have nothing of {listing.origin}.")
    if listing.others:
        names = ", ".join(map(str, listing.others))
        console.print(escape(f"Other databases, by --origin: {names}"), style="dim")


def _line(entry: Entry) -> tuple[int, str, str, str, str]:
    manifest = entry.manifest
    if manifest is None:
        return 0, "", "", entry.standing, entry.store.where
    return manifest.run, manifest.task, str(manifest.whole), entry.standing, entry.store.where


def _show_recovery(console: Console, recovery: Recovery) -> None:
    grid = grid_of("table", "into", ("archived", "right"), ("brought back", "right"), ("there already", "right"))
    for one in recovery.restored:
        grid.add_row(
            escape(short(one.table)), escape(short(one.into)), f"{one.rows:,}", f"{one.inserted:,}", f"{one.present:,}"
        )
    show_grid(console, grid)
    if recovery.left:
        states = ", ".join(sorted({entry.standing for entry in recovery.left}))
        console.print(f"{len(recovery.left)} objects were left out: {states}", style="yellow")
    rows = sum(one.inserted for one in recovery.restored)
    console.print(
        f"Run {recovery.run}: {rows:,} rows brought back; the next run deletes those that break a rule again."
    )
