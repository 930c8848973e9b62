"""Values in the text of a statement are what they would be as parameters, and nothing else is touched."""

from __future__ import annotations

from datetime import UTC, datetime

from maintenance.archive.literals import inlined
from tests.databases import Database

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
CASES: tuple[tuple[str, tuple[object, ...]], ...] = (
    ("select $1::timestamptz, $2::date, $3::text, $1::timestamptz", (NOW, NOW.date(), "it's \\ $1 -- /* \"")),
    ("select $1::tid[], $2::text::tid[], $3::int", ([(0, 1), (7, 65535)], '{"(0,1)"}', None)),
    ("select $1::text[], cardinality($2::text[])", (["a'b", "c\\d", "", "$2", None], [])),
    ("select '$1', E'\\'$1', \"c$1\", $1::int, $x$ $1 $x$, $$ $1 $$ from (select 2 as c$1) t", (1,)),
    ("select $1::int -- $1 '\n, 'a''$1' /* $1 ' */, $2::text", (1, "x")),
    ("select 1", ()),
)  # fmt: skip


async def test_each_statement_gives_the_same_as_with_parameters(database: Database) -> None:
    for sql, values in CASES:
        text = await inlined(database.connection, sql, values)
        assert await database.connection.fetch(text) == await database.connection.fetch(sql, *values), sql
        assert (await database.connection.prepare(text)).get_parameters() == (), sql
