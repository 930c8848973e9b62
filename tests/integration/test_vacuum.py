"""vacuum: which tables need it, in which order, and that it really happened."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from maintenance.errors import PolicyError
from maintenance.ledger import Ledger
from maintenance.models import RunStatus, StepStatus, StopReason
from tests.databases import Database, planned_step, step
from tests.sessions import LEDGER_GRANTS, counted, role, said

_QUIET = "with (autovacuum_enabled = false)"
_THRESHOLDS = """
[vacuum]
dead_rows = 100
dead_fraction = 0.1
insert_rows = 200
insert_fraction = 0.5
"""
_KEEP_30_DAYS = """
[[retention]]
table = "{table}"
column = "at"
keep = "30 days"
"""


async def made(database: Database, name: str, rows: int = 1000) -> None:
    """A table of that many rows, freshly vacuumed, that autovacuum leaves alone."""
    await database.execute(f"create table {name} (id int primary key, at timestamptz default now()) {_QUIET}")
    await database.execute(f"insert into {name} select generate_series(1, {rows})")
    await counted(database)
    await database.execute(f"vacuum (analyze) {name}")


async def last_vacuum(database: Database, table: str) -> datetime | None:
    found: datetime | None = await database.connection.fetchval(
        "select last_vacuum from pg_stat_user_tables where schemaname || '.' || relname = $1", table
    )
    return found


_CHANGES = {
    "same": ("select", False),
    "few_deleted": ("delete from few_deleted where id <= 200", False),
    "deleted": ("delete from deleted where id <= 201", True),
    "few_updated": ("update few_updated set at = now() where id <= 200", False),
    "updated": ("update updated set at = now() where id <= 201", True),
    "few_inserted": ("insert into few_inserted select generate_series(2001, 2700)", False),
    "inserted": ("insert into inserted select generate_series(2001, 2701)", True),
}


async def test_a_threshold_is_a_number_plus_a_share_of_the_rows(database: Database) -> None:
    for name, (change, _) in _CHANGES.items():
        await made(database, name)
        await database.execute(change)
    await counted(database)
    before = {name: await last_vacuum(database, f"public.{name}") for name in _CHANGES}
    run = await database.run("vacuum", policy=_THRESHOLDS)
    needy = {name for name, (_, needs_it) in _CHANGES.items() if needs_it}
    assert {(s.table, s.status) for s in run.steps} == {(f"public.{name}", StepStatus.SUCCEEDED) for name in needy}
    assert {name for name in _CHANGES if await last_vacuum(database, f"public.{name}") != before[name]} == needy
    assert run.status is RunStatus.SUCCEEDED
    assert (await database.run("vacuum")).steps == ()


async def test_the_neediest_table_goes_first(database: Database) -> None:
    for name, dead in (("a", 300), ("b", 900), ("c", 600)):
        await made(database, name)
        await database.execute(f"delete from {name} where id <= {dead}")
    await counted(database)
    plan = await database.plan("vacuum", policy=_THRESHOLDS)
    run = await database.run("vacuum")
    assert [str(s.table) for s in plan.steps] == [s.table for s in run.steps] == ["public.b", "public.c", "public.a"]
    assert planned_step(plan, "vacuum", "public.b").summary == "900 dead rows"
    assert step(run, "vacuum", "public.b").note == "900 dead rows removed"


async def test_of_tables_that_need_it_about_as_much_the_largest_goes_first(database: Database) -> None:
    for name, rows in (("a", 10_000), ("b", 100_000), ("c", 30_000), ("d", 1000)):
        await made(database, name, rows)
        await database.execute(f"delete from {name} where id <= {0.301 if name == 'a' else 0.3} * {rows}")
    await database.execute("delete from d where id <= 500")
    await counted(database)
    plan = await database.plan("vacuum", policy="[vacuum]\ndead_rows = 0\ndead_fraction = 0.1")
    assert [str(s.table) for s in plan.steps] == ["public.d", "public.b", "public.c", "public.a"]


async def test_a_table_that_a_run_deleted_from_is_vacuumed_in_that_run_though_under_the_thresholds(
    database: Database,
) -> None:
    for name in ("deleted_from", "untouched"):
        await made(database, name)
    await database.execute("update deleted_from set at = now() - interval '31 days' where id <= 3")
    await counted(database)
    before = await last_vacuum(database, "public.deleted_from")
    run = await database.run("retention", "vacuum", policy=_KEEP_30_DAYS.format(table="deleted_from"))
    assert [(s.task, s.table, s.rows) for s in run.steps] == [
        ("retention", "public.deleted_from", 3),
        ("vacuum", "public.deleted_from", 0),
    ]
    after = await last_vacuum(database, "public.deleted_from")
    assert before is not None
    assert after is not None
    assert after > before
    if database.connection.get_server_version().major >= 15:
        # The three deleted, and the old versions of the three updated.
        assert step(run, "vacuum").note == "6 dead rows removed"
        assert await database.values("select n_dead_tup from pg_stat_user_tables where relname = 'deleted_from'") == [0]
    assert (await database.run("vacuum")).steps == ()


async def test_an_earlier_run_that_deleted_is_remembered_until_the_vacuum(database: Database) -> None:
    await made(database, "t")
    await database.execute("update t set at = now() - interval '31 days' where id = 1")
    await database.run("retention", policy=_KEEP_30_DAYS.format(table="t"))
    assert [s.table for s in (await database.run("vacuum")).steps] == ["public.t"]
    assert (await database.run("vacuum")).steps == ()


async def test_names_toast_views_partitions_and_other_schemas(database: Database) -> None:
    names = ('"Upper Case"', '"with ""quotes"""', '"Odd""Schema"."select"')
    await database.execute('create schema "Odd""Schema"')
    for name in names:
        await database.execute(f"create table {name} {_QUIET} as select generate_series(1, 201) id")
    await database.execute(
        f"create materialized view matview {_QUIET} as select generate_series(1, 201) id; create view a_view as select;"
        "create table parent (id int) partition by range (id);"
        f"create table leaf partition of parent for values from (1) to (1000) {_QUIET};"
        "insert into parent select generate_series(1, 201);"
        f"create table toasted (body text) with (autovacuum_enabled = false, toast.autovacuum_enabled = false);"
        "alter table toasted alter body set storage external;"
        "insert into toasted select repeat('x', 3000) from generate_series(1, 201);"
        "create temporary table passing as select generate_series(1, 201) id;"
    )
    await counted(database)
    run = await database.run("vacuum", policy=_THRESHOLDS)
    assert {(s.table, s.status) for s in run.steps} == {
        (name, StepStatus.SUCCEEDED)
        for name in (
            "public.Upper Case", 'public.with "quotes"', 'Odd"Schema.select', "public.matview", "public.leaf",
            "public.toasted",
        )
    }  # fmt: skip
    for done in run.steps:
        assert await last_vacuum(database, done.table) is not None
    assert await database.values(
        "select last_vacuum is not null from pg_stat_sys_tables where relid ="
        " (select reltoastrelid from pg_class where relname = 'toasted')"
    ) == [True]
    assert (await database.run("vacuum")).steps == ()


_PATTERNS: tuple[tuple[list[str], list[str]], ...] = (
    (["*"], ["other.events", "public.events", "public.events_2024", "public.users"]),
    (["events"], ["other.events", "public.events"]),
    (["public.events"], ["public.events"]),
    (["events*"], ["other.events", "public.events", "public.events_2024"]),
    (["*", "!events_*"], ["other.events", "public.events", "public.users"]),
    (["!other.*"], ["public.events", "public.events_2024", "public.users"]),
    (["EVENTS"], []),
    (["event?", "user?", "!public.users"], ["other.events", "public.events"]),
)


async def test_patterns_include_and_exclude_tables(database: Database) -> None:
    await database.execute("create schema other")
    for name in ("events", "events_2024", "users", "other.events"):
        await database.execute(f"create table {name} {_QUIET} as select generate_series(1, 201) id")
    await counted(database)
    for patterns, taken in _PATTERNS:
        plan = await database.plan("vacuum", policy=f"{_THRESHOLDS}\ntables = {patterns!r}")
        assert (patterns, sorted(str(s.table) for s in plan.steps)) == (patterns, taken)


@pytest.mark.parametrize(("granted", "ended"), [(False, StepStatus.BLOCKED), (True, StepStatus.SUCCEEDED)])
async def test_without_the_privilege_a_vacuum_is_blocked_and_never_a_success(
    database: Database, granted: bool, ended: StepStatus
) -> None:
    if granted and database.connection.get_server_version().major < 17:
        pytest.skip("needs PostgreSQL 17 for GRANT MAINTAIN")
    await Ledger(database.connection).install()
    await database.execute(f"create table t {_QUIET} as select generate_series(1, 201) id")
    await counted(database)
    grants = (*LEDGER_GRANTS, "grant maintain on t to {role}") if granted else LEDGER_GRANTS
    async with role(database, *grants) as plain:
        run = await database.run("vacuum", policy=_THRESHOLDS, target=plain)
    done = step(run, "vacuum", "public.t")
    assert done.status is ended
    assert (await last_vacuum(database, "public.t") is not None) is granted
    if granted:
        assert run.status is RunStatus.SUCCEEDED
    else:
        assert (run.status, run.stop_reason, done.stop_reason) == (
            RunStatus.FAILED, StopReason.BLOCKED, StopReason.BLOCKED,
        )  # fmt: skip
        assert "permission denied" in (done.error or "") or "only table or database owner" in (done.error or "")
        assert 'GRANT MAINTAIN ON "public"."t"' in (done.error or "")


_OPTIONS = (
    ("", "", ""),
    ("truncate = false", "", ""),
    ("parallel = 0", ", parallel 0", ""),
    ('parallel = 2\nbuffer_usage_limit = "2MB"', ", parallel 2", ", buffer_usage_limit '2MB'"),
)


@pytest.mark.parametrize(("lines", "options", "newer"), _OPTIONS)
async def test_the_options_are_those_that_the_server_has(
    database: Database, lines: str, options: str, newer: str
) -> None:
    """The horizon of the whole database is computed once, after all tables, where the server can leave it alone."""
    for name, rows in (("a", 402), ("b", 201)):
        await database.execute(f"create table {name} {_QUIET} as select generate_series(1, {rows}) id")
    await counted(database)
    async with said(database) as statements:
        run = await database.run("vacuum", policy=f"{_THRESHOLDS}\n{lines}")
    assert run.status is RunStatus.SUCCEEDED
    truncate = "false" if "truncate" in lines else "true"
    is_newer = database.connection.get_server_version().major >= 16
    newer = f", skip_database_stats{newer}" if is_newer else ""
    assert [sql for sql in statements if sql.startswith("vacuum")] == [
        f'vacuum (truncate {truncate}{options}{newer}) "public"."a"',
        f'vacuum (truncate {truncate}{options}{newer}) "public"."b"',
        *(["vacuum (only_database_stats)"] if is_newer else []),
    ]
    ring = "(buffer_usage_limit '2MB')" if is_newer and "buffer" in lines else ""
    assert [sql for sql in statements if sql.startswith("analyze")] == [
        f'analyze {ring} "public"."a"', f'analyze {ring} "public"."b"',
    ]  # fmt: skip


async def test_nothing_is_done_for_the_database_where_no_table_was_vacuumed(database: Database) -> None:
    await made(database, "t")
    await counted(database)
    async with said(database) as statements:
        await database.run("vacuum", policy=_THRESHOLDS)
    assert not any(sql.startswith("vacuum") for sql in statements)


async def test_the_horizon_of_the_database_moves_also_for_a_role_without_rights_on_it(database: Database) -> None:
    await Ledger(database.connection).install()
    await database.execute(f"create table t {_QUIET} as select generate_series(1, 201) id")
    await counted(database)
    # All tables are young now, and the database has yet to hear of it.
    skip = ", skip_database_stats" if database.connection.get_server_version().major >= 16 else ""
    await database.execute("select pg_current_xact_id()")
    await database.execute(f"vacuum (freeze{skip})")
    horizon = "select age(datfrozenxid) from pg_database where datname = current_database()"
    before = await database.values(horizon)
    async with role(database, *LEDGER_GRANTS, "alter table t owner to {role}") as plain:
        await database.execute("insert into t select generate_series(1, 500)")
        await counted(database)
        run = await database.run("vacuum", policy=_THRESHOLDS, target=plain)
        done = step(run, "vacuum", "public.t")
        assert (done.status, "failed" in (done.note or "")) == (StepStatus.SUCCEEDED, False)
    after = await database.values(horizon)
    assert not skip or after[0] < before[0]


_SIZES = (
    ("0", True),
    ("128kB", True),
    ("2 MB", True),
    ("16GB", True),
    ("1kB", False),
    ("32GB", False),
    ("-1", False),
    ("much", False),
    ("2MB') t; drop table t; --", False),
)


@pytest.mark.parametrize(("limit", "fits"), _SIZES)
async def test_the_server_judges_the_buffer_usage_limit_before_anything_is_written(
    database: Database, limit: str, fits: bool
) -> None:
    await database.execute(f"create table t {_QUIET} as select generate_series(1, 201) id")
    await counted(database)
    database.write_policy(f"{_THRESHOLDS}\nbuffer_usage_limit = {json.dumps(limit)}")
    has_it = database.connection.get_server_version().major >= 16
    if has_it and not fits:
        for verb in (database.plan, database.run):
            with pytest.raises(PolicyError, match=r"\[vacuum\] buffer_usage_limit = .* is no size that VACUUM takes"):
                await verb("weekly-vacuum")
        assert await database.values("select to_regnamespace('maintenance')::text") == [None]
    else:
        summary = planned_step(await database.plan("vacuum"), "vacuum").summary
        assert ("without buffer_usage_limit, which came with PostgreSQL 16" in summary) is not has_it
        assert (await database.run("vacuum")).status is RunStatus.SUCCEEDED
