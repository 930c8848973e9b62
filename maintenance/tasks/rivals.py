"""Rivals: rows of one key, and which of them stays, in the words of SQL."""

from __future__ import annotations

from dataclasses import dataclass

from maintenance.catalog import Column, Leaf
from maintenance.names import Fragment, Table, listed
from maintenance.sql import statement

NAME = "duplicates"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What makes rows of a table duplicates of each other, and which of them stays."""

    among: Table
    """Where a row's better may lie: the leaf itself, or all partitions where a key can occur in several."""
    columns: tuple[Column, ...]
    newest: tuple[Column, ...]

    def sql(self, name: str, leaf: Leaf, **more: Fragment) -> str:
        """A statement of duplicates.sql for the losing rows of one leaf."""
        only = Fragment("only ") if self.among == leaf.table else Fragment("")
        return statement(
            NAME, name, table=leaf.table.sql, among=Fragment(only + self.among.sql),
            leaf=Fragment(f"{leaf.oid:d}"), cursor=held(leaf), key=listed([column.sql for column in self.columns]),
            present=listed([Fragment(f"{column.sql} is not null") for column in self.columns], " and "),
            order=listed([Fragment(f"{column.sql} desc nulls last") for column in self.newest]), **more,
        )  # fmt: skip

    def delete_sql(self, leaf: Leaf, *, free: Fragment, patience: Fragment) -> str:
        """The statement that deletes the losing rows of one leaf."""
        across = self.among != leaf.table
        plain = all(column.operators == "pg_catalog" for column in (*self.columns, *self.newest))
        return self.sql(
            "delete_losers", leaf, free=free, patience=patience,
            compared=listed([column.sql for column in dict.fromkeys((*self.columns, *self.newest))]),
            given=Fragment(statement(NAME, "given_across" if across else "given_here")),
            homes=Fragment(", $3::text::oid[]" if across else ""),
            at_home=Fragment(statement(NAME, "at_home") if across else ""),
            paired=Fragment("" if plain else statement(NAME, "paired")),
            pairs=Fragment("" if plain else ", given"),
            same=self._same() if plain else self._same_record(),
            better=self._better() if plain else self._better_record(),
        )  # fmt: skip

    def _same(self) -> Fragment:
        """Equal keys, by the server's own operators, which every role may use."""
        parts = [Fragment(f"winner.{c.sql} operator(pg_catalog.=) loser.{c.sql}") for c in self.columns]
        return listed(parts, " and ")

    def _better(self) -> Fragment:
        """A greater rank, NULL being less than everything; the address decides between equals."""
        better = "row(winner.tableoid, winner.ctid) operator(pg_catalog.>) row(loser.tableoid, loser.ctid)"
        for column in reversed(self.newest):
            winner, loser = f"winner.{column.sql}", f"loser.{column.sql}"
            better = (
                f"({winner} operator(pg_catalog.>) {loser} or {winner} is not null and {loser} is null"
                f" or ({winner} operator(pg_catalog.=) {loser} or {winner} is null and {loser} is null) and {better})"
            )
        return Fragment(better)

    def _same_record(self) -> Fragment:
        """Equal keys as values of type record, which are compared as their types order, whatever the search path."""
        winner, loser = (", ".join(f"{row}.{column.sql}" for column in self.columns) for row in ("winner", "loser"))
        return Fragment(f"row({winner})::record operator(pg_catalog.=) row({loser})::record")

    def _better_record(self) -> Fragment:
        """A greater rank as a value of type record; a flag in front of each column makes NULL less than everything."""

        def rank(row: str) -> str:
            parts = [f"{row}.{column.sql} is not null, {row}.{column.sql}" for column in self.newest]
            return f"row({', '.join([*parts, f'{row}.tableoid', f'{row}.ctid'])})::record"

        return Fragment(f"{rank('winner')} operator(pg_catalog.>) {rank('loser')}")


def held(leaf: Leaf) -> Fragment:
    """Name of the session's cursor over the losing rows of a leaf."""
    return Fragment(f"maintenance_duplicates_{leaf.oid:d}")
