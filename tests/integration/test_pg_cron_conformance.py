"""The compiled policy does what the service does: the same rows left, the same ledger, the same guard stops."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from maintenance.demo.server import Server
from maintenance.models import StopReason
from maintenance.runs import Run
from tests import odd_schema
from tests.compiled import call, compile_policy
from tests.databases import Database, Spares, opened

_OLD, _NEW = "'2001-01-01'", "now()"
_NOW = f"timestamptz '{datetime.now(UTC).isoformat()}'"
"""What `now()` is in the tables of both."""


class Case(NamedTuple):
    """Tables with their rows, and a policy."""

    sql: str
    policy: str
    stops: set[StopReason]
    """How the steps of both are to end: a case that ends otherwise tests nothing."""


_RETENTION = '[[retention]]\ntable = "t"\ncolumn = "at"\nkeep = "30 days"\n'
_T = "create table t (id int, at timestamptz, k int, kind text);\n"
_OLD_AND_NEW = (
    f"insert into t select i, {_OLD}::timestamptz + i * interval '1 day', i % 7, 'a' from generate_series(1, 300) i;\n"
    f"insert into t select i, {_NEW} - i * interval '1 hour', i % 7, 'b' from generate_series(301, 400) i;\n"
)
_DUPLICATES = '[[duplicates]]\ntables = ["t"]\nkey = ["k"]\nnewest = ["at", "id"]\n'
_ORPHANS = '[[orphans]]\ntables = ["t"]\ncolumn = "k"\nparent = "p"\nparent_column = "id"\n'
_CATALOG = """
create table t (k text, n int);
insert into t select 'key ' || i, 3 from generate_series(1, 400) i; insert into t values (null, 9);
create table p (id int, one text, many text[]);
insert into p select i, 'key ' || i, array['key ' || i * 2, 'key ' || i * 2, null] from generate_series(1, 50) i;
"""
_UNREFERENCED = """
[[unreferenced]]
table = "t"
column = "k"
references = [{ table = "p", column = "one" }, { table = "p", column = "many" }, { table = "p", column = "gone" }]
count_column = "n"
"""
_HASHED = """
create table t (id int, at timestamptz, k int, kind text) partition by hash (id);
create table t0 partition of t for values with (modulus 2, remainder 0);
create table t1 partition of t for values with (modulus 2, remainder 1);
"""
DONE, GUARD, BLOCKED, ERROR = StopReason.DONE, StopReason.GUARD, StopReason.BLOCKED, StopReason.ERROR

CASES: dict[str, Case] = {
    "a plain rule": Case(_T + _OLD_AND_NEW, _RETENTION, {DONE}),
    "nothing is due": Case(_T + "insert into t values (1, now(), 1, 'a');", _RETENTION, {DONE}),
    "an empty table": Case(_T, _RETENTION + _DUPLICATES, {DONE}),
    "an absent table": Case(_T + _OLD_AND_NEW, _RETENTION + _RETENTION.replace('"t"', '"gone"'), {DONE}),
    "a condition with quotes": Case(
        _T + _OLD_AND_NEW + f"""insert into t values (500, {_OLD}, 1, 'it''s "{{leaf}}" $1 %s');""",
        _RETENTION + """where = '''kind = 'it''s "{leaf}" $1 %s' or kind like '%a' '''\n""",
        {DONE},
    ),
    "a condition on other rows": Case(
        _T + _OLD_AND_NEW + "create table hold (id int); insert into hold values (7), (8);",
        _RETENTION + 'where = "not exists (select from hold where hold.id = t.id)"\n',
        {DONE},
    ),
    "a timestamp, a date": Case(
        "create table t (at timestamp); create table d (at date);"
        "insert into t select (now() at time zone 'UTC') - i * interval '25 hours' from generate_series(1, 60) i;"
        "insert into d select (now() at time zone 'UTC')::date - i from generate_series(1, 60) i;",
        _RETENTION + _RETENTION.replace('"t"', '"d"'),
        {DONE},
    ),
    "moments without end": Case(
        _T + "insert into t values (1, '-infinity', 1, 'a'), (2, 'infinity', 1, 'a'), (3, null, 1, 'a');",
        _RETENTION,
        {DONE},
    ),
    "keep_newest": Case(_T + _OLD_AND_NEW, _RETENTION + "keep_newest = 150\n", {DONE}),
    "keep_per_key": Case(
        _T + _OLD_AND_NEW.replace("'b'", "'a'"), _RETENTION + 'keep_per_key = { columns = ["k"], rows = 20 }\n', {DONE}
    ),
    "all of it is old": Case(
        _T + f"insert into t select i, {_OLD}, 1, 'a' from generate_series(1, 10) i;", _RETENTION, {GUARD}
    ),
    "all of it, and that is meant": Case(
        _T + f"insert into t select i, {_OLD}, 1, 'a' from generate_series(1, 10) i;",
        _RETENTION + "allow_empty = true\n",
        {DONE},
    ),
    "max_rows": Case(_T + _OLD_AND_NEW, _RETENTION + "max_rows = 299\n", {GUARD}),
    "max_rows that suffice": Case(_T + _OLD_AND_NEW, _RETENTION + "max_rows = 300\n", {DONE}),
    "max_fraction": Case(_T + _OLD_AND_NEW, _RETENTION + "max_fraction = 0.5\n", {GUARD}),
    "a ramp": Case(_T + _OLD_AND_NEW, _RETENTION + "max_rows = 5\nramp = 1000\n", {DONE}),
    "partitions by rows": Case(
        _HASHED + _OLD_AND_NEW, _RETENTION + 'partitions = "rows"\nmax_fraction = 0.9\n', {DONE}
    ),
    "a limit over all partitions": Case(_HASHED + _OLD_AND_NEW, _RETENTION + "max_rows = 200\n", {GUARD}),
    "a trigger that keeps rows": Case(
        _T + _OLD_AND_NEW + "create function keep() returns trigger language plpgsql as 'begin return null; end';"
        "create trigger keep before delete on t for each row execute function keep();",
        _RETENTION,
        {BLOCKED},
    ),
    "a trigger that lets them go": Case(
        _T + _OLD_AND_NEW + "create function let() returns trigger language plpgsql as 'begin return old; end';"
        "create trigger let before delete on t for each row execute function let();",
        _RETENTION,
        {DONE},
    ),
    "a rule in the way": Case(
        _T + _OLD_AND_NEW + "create rule no as on delete to t do instead nothing;", _RETENTION, {BLOCKED}
    ),
    "a publication in the way": Case(_T + _OLD_AND_NEW + "create publication pub for table t;", _RETENTION, {BLOCKED}),
    "rows that others refer to": Case(
        _T + _OLD_AND_NEW + "alter table t add primary key (id);"
        "create table r (id int references t (id)); insert into r values (7);",
        _RETENTION,
        {ERROR},
    ),
    "a condition that fails": Case(
        _T + _OLD_AND_NEW,
        _RETENTION + 'where = "1 / (id - id) = 1"\n' + _DUPLICATES + "max_fraction = 1\n",
        {ERROR, DONE},
    ),
    "duplicates": Case(_T + _OLD_AND_NEW + _OLD_AND_NEW, _DUPLICATES, {GUARD}),
    "duplicates that may go": Case(_T + _OLD_AND_NEW + _OLD_AND_NEW, _DUPLICATES + "max_fraction = 1\n", {DONE}),
    "duplicates with NULLs and ties": Case(
        _T + "insert into t select i, case when i % 3 = 0 then null else now() end, nullif(i % 40, 0), null"
        " from generate_series(1, 79) i; insert into t select * from t where id < 20;",
        _DUPLICATES.replace('"at", "id"', '"at"') + "max_fraction = 1\n",
        {DONE},
    ),
    "duplicates across partitions": Case(_HASHED + _OLD_AND_NEW, _DUPLICATES + "max_fraction = 1\n", {DONE}),
    "duplicates over the limit across partitions": Case(_HASHED + _OLD_AND_NEW, _DUPLICATES, {GUARD}),
    "duplicates within partitions": Case(
        _HASHED + _OLD_AND_NEW + _OLD_AND_NEW,
        _DUPLICATES.replace('["k"]', '["id"]').replace('"at", "id"', '"at"'),
        {DONE},
    ),
    "no duplicates by an index": Case(
        _T.replace("id int", "id int unique") + _OLD_AND_NEW, _DUPLICATES.replace('["k"]', '["id"]'), {DONE}
    ),
    "orphans": Case(
        _T + _OLD_AND_NEW + "create table p (id bigint); insert into p select generate_series(1, 6);", _ORPHANS, {DONE}
    ),
    "orphans of a partitioned table": Case(
        _HASHED + _OLD_AND_NEW + "create table p (id int); insert into p select generate_series(1, 6);",
        _ORPHANS,
        {DONE},
    ),
    "orphans over the limit": Case(
        _T + _OLD_AND_NEW + "create table p (id int); insert into p values (1);", _ORPHANS, {GUARD}
    ),
    "orphans with a grace": Case(
        _T + _OLD_AND_NEW + "create table p (id int); insert into p values (1);",
        _ORPHANS + 'grace = "1 day"\nage_column = "at"\nmax_fraction = 0.9\n',
        {DONE},
    ),
    "no parent at all": Case(_T + _OLD_AND_NEW, _ORPHANS, {GUARD}),
    "an empty parent": Case(_T + _OLD_AND_NEW + "create table p (id int);", _ORPHANS, {GUARD}),
    "a parent of NULLs": Case(
        _T + _OLD_AND_NEW + "create table p (id int); insert into p values (null);", _ORPHANS, {GUARD}
    ),
    "an empty parent, and that is meant": Case(
        _T + _OLD_AND_NEW + "create table p (id int);",
        _ORPHANS + "allow_empty_parent = true\nmax_fraction = 1\n",
        {DONE},
    ),
    "no orphans by a foreign key": Case(
        _T + "create table p (id int primary key); insert into p values (1);"
        "alter table t add foreign key (k) references p (id);",
        _ORPHANS,
        {DONE},
    ),
    "a catalog": Case(_CATALOG, _UNREFERENCED + "max_fraction = 0.9\n", {DONE}),
    "a catalog over the limit": Case(_CATALOG, _UNREFERENCED, {GUARD}),
    "a catalog whose references are empty": Case(_CATALOG + "truncate p;", _UNREFERENCED, {GUARD}),
    "a catalog whose references say nothing": Case(
        _CATALOG + "update p set one = null, many = null;", _UNREFERENCED, {GUARD}
    ),
    "a catalog whose references are absent": Case(_CATALOG + "drop table p;", _UNREFERENCED, {GUARD}),
    "odd names": Case(odd_schema.SCHEMA + odd_schema.ROWS, odd_schema.POLICY.partition("[vacuum]")[0], {DONE}),
}

_TABLES = """
select pg_catalog.format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema', 'maintenance') order by 1
"""


async def _left(database: Database) -> dict[str, list[Any]]:
    """Every row of every table."""
    tables = await database.values(_TABLES)
    return {table: await database.values(f"select t::text from {table} as t order by 1") for table in tables}


def _ledger(run: Run) -> list[Any]:
    """What the ledger says of a run, but for how the rows were found, and where words are the server's."""
    head = (run.name, run.status, run.stop_reason, run.rows)
    steps = [
        (s.task, s.table, s.rule, s.status, s.stop_reason, s.rows, s.updated, s.sqlstate,
         s.error if s.stop_reason in (GUARD, BLOCKED) else None)
        for s in run.steps
    ]  # fmt: skip
    return [head, *steps]


@asynccontextmanager
async def _twin(server: Server, spares: Spares, case: Case, folder: Path) -> AsyncIterator[Database]:
    folder.mkdir()
    async with opened(server, spares, await spares.taken(), folder) as database:
        await _made(database, case)
        yield database


async def _made(database: Database, case: Case) -> None:
    await database.execute(case.sql.replace("now()", _NOW))
    await database.execute("analyze")
    database.write_policy(case.policy, guarded=True)


@pytest.mark.parametrize("name", CASES)
async def test_both_leave_the_same_rows_and_the_same_ledger(
    server: Server, spares: Spares, database: Database, tmp_path: Path, name: str
) -> None:
    case = CASES[name]
    await _made(database, case)
    by_service = await database.run("daily-cleanup")
    assert {step.stop_reason for step in by_service.steps} == case.stops
    async with _twin(server, spares, case, tmp_path / "twin") as twin:
        await compile_policy(twin)
        compiled = await call(twin)
        assert compiled.scheduler == "pg_cron"
        assert _ledger(compiled) == _ledger(by_service)
        assert await _left(twin) == await _left(database)
        again = await call(twin)
        assert again.rows == 0, "a second run found something to do"
        assert await _left(twin) == await _left(database)


async def test_both_clean_the_demo_fleet_alike(
    server: Server, spares: Spares, fleet: Database, fleet_template: str, tmp_path: Path
) -> None:
    (tmp_path / "twin").mkdir()
    async with opened(server, spares, await spares.made(fleet_template), tmp_path / "twin") as twin:
        twin.write_policy(fleet.policy_file.read_text(encoding="utf-8"), guarded=True)
        await compile_policy(twin)
        assert _ledger(await call(twin)) == _ledger(await fleet.run("daily-cleanup"))
        assert await _left(twin) == await _left(fleet)
