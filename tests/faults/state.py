"""The state that each round begins with, rows for every task in many batches, and what the oracle leaves of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from asyncpg import Connection

from tests.oracle import Entry, Use, catalog_left, older, orphaned, rivals

TASKS = ("retention", "duplicates", "orphans", "unreferenced")
TABLES = ("visits", "samples", "logs", "audits", "parents", "children", "twins", "catalog", "uses")
# Few rows to a block, or many rows, so that most tasks come to many tiny batches. Of twins, children and catalog less
# than half goes.
FILL = """
create table visits (id int, at timestamptz, note char(140) default 'n') with (fillfactor = 10);
insert into visits select i, now() - case when i % 3 = 0 then interval '1 day' else interval '40 days' end
from generate_series(1, 3000) i;
create table samples (id int, at date);
create index on samples (at);
insert into samples select i, current_date - i % 60 from generate_series(1, 8000) i;
do $$
declare name text; ends int;
begin
    foreach name in array array['logs', 'audits'] loop
        execute format('create table %I (id int, at timestamptz) partition by range (at)', name);
        foreach ends in array array[160, 120, 80, 20, -400] loop
            execute format('create table %I partition of %I for values from (%L) to (%L)', name || '_' || ends + 400,
                name, current_date - case ends when -400 then 20 when 20 then 80 else ends + 40 end,
                current_date - ends);
        end loop;
        execute format('insert into %I select i, current_date - (i %% 199 + 0.5) * interval ''1 day''
            from generate_series(1, 1200) i', name);
    end loop;
end $$;
create table audits_rest partition of audits default;
create table parents (id int primary key);
insert into parents select i from generate_series(1, 500) i;
create table children (id int primary key, parent text, at timestamptz, note char(100) default 'n')
with (fillfactor = 10);
alter table parents add code varchar(10);
update parents set code = id;
insert into children select i, nullif(i % 700, 0)::text,
    now() - case when i % 10 = 0 then interval '1 hour' else interval '3 days' end
from generate_series(1, 3000) i;
create table twins (id int primary key, key uuid, at timestamp);
insert into twins select i, md5((i % 6000)::text)::uuid, timestamp '2024-01-01' + i % 7 * interval '1 day'
from generate_series(1, 9000) i;
create table catalog (hash text, uses int);
insert into catalog select 'h' || i, i % 3 from generate_series(1, 3000) i;
create table uses (id int, hashes text[]);
insert into uses select i, array['h' || i, 'h' || i + 500] from generate_series(1, 1500) i;
analyze;
"""
RULES = """
[[retention]]
table = "visits"
column = "at"
keep = "30 days"
{archive}
[[retention]]
table = "samples"
column = "at"
keep = "30 days"
where = "id > 10"
{archive}
[[retention]]
table = "logs"
column = "at"
keep = "30 days"
[[retention]]
table = "audits"
column = "at"
keep = "30 days"
[[duplicates]]
tables = ["twins"]
key = ["key"]
newest = ["at", "id"]
{archive}
[[orphans]]
tables = ["children"]
column = "parent"
parent = "parents"
parent_column = "code"
grace = "1 day"
age_column = "at"
{archive}
[[unreferenced]]
table = "catalog"
column = "hash"
references = [{{ table = "uses", column = "hashes" }}]
count_column = "uses"
"""
POLICY = RULES.format(archive="")
ARCHIVED = ("visits", "samples", "twins", "children")
"""Tables whose rules may have an archive."""
_KEEP, _GRACE = timedelta(days=30), timedelta(days=1)


def policy(archive: Path | None) -> str:
    """The rules, with that folder as their archive or without one."""
    return POLICY if archive is None else RULES.format(archive=f'archive = "{archive.as_uri()}"')


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A template, how many rows it has, and what must be left of each table: each row as text, in order."""

    template: str
    seeded: int
    sizes: dict[str, int]
    left: dict[str, list[str]]

    @property
    def gone(self) -> int:
        """Rows that must go."""
        return self.seeded - sum(len(rows) for rows in self.left.values())


async def contents(connection: Connection) -> dict[str, list[str]]:
    """Every row of every table that is there, as text, in order."""
    found = {}
    for table in TABLES:
        if await connection.fetchval("select to_regclass($1) is not null", table):
            rows = await connection.fetch(f"select t::text from {table} t")
            found[table] = sorted(row[0] for row in rows)
    return found


async def judged(connection: Connection, as_of: datetime) -> dict[str, list[str]]:
    """What the oracle leaves of each table."""

    async def rows(table: str) -> list[tuple[str, dict[str, Any]]]:
        found = await connection.fetch(f"select t::text as row_text, t.* from {table} t")
        return [(row["row_text"], dict(row)) for row in found]

    left: dict[str, list[str]] = {}
    for table in ("visits", "logs", "audits"):
        left[table] = [text for text, row in await rows(table) if not older(row["at"], as_of, _KEEP)]
    left["samples"] = [
        text for text, row in await rows("samples")
        if not (older(row["at"], as_of, _KEEP) and row["id"] > 10)
    ]  # fmt: skip
    twins = {row["id"]: (text, row) for text, row in await rows("twins")}
    alone, groups = rivals((id_, [row["key"]], [row["at"], id_]) for id_, (_, row) in twins.items())
    left["twins"] = [twins[id_][0] for id_ in {*alone, *(min(group) for group in groups)}]
    left["parents"] = [text for text, _ in await rows("parents")]
    codes = [row["code"] for _, row in await rows("parents")]
    left["children"] = [
        text for text, row in await rows("children")
        if not (orphaned(row["parent"], codes) and older(row["at"], as_of, _GRACE))
    ]  # fmt: skip
    uses = [Use("uses", row["id"], frozenset(row["hashes"])) for _, row in await rows("uses")]
    entries = [Entry(n, row["hash"], row["uses"]) for n, (_, row) in enumerate(await rows("catalog"))]
    left["catalog"] = [f"({entry.value},{entry.counter})" for entry in catalog_left(entries, uses, counted=True)]
    left["uses"] = [text for text, _ in await rows("uses")]
    return {table: sorted(left[table]) for table in TABLES}
