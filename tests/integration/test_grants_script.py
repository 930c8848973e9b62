"""The script of the least-privilege role: any name, any condition, partitions, other schemas, and before 17 owners."""

from __future__ import annotations

from dataclasses import replace

import pytest

from maintenance import grants
from maintenance.errors import UsageError
from maintenance.grants import checked_role, rendered
from maintenance.models import RunStatus, StepStatus, StopReason
from tests.databases import Database
from tests.odd_schema import CLEANUP, NAME, POLICY, ROWS, TASKS, asked, least, make, member


@pytest.fixture
async def odd(database: Database) -> Database:
    await make(database)
    return database


async def test_a_role_of_any_name_may_be_given_the_script_again(odd: Database) -> None:
    # One database for all of them: to make one takes longer than all that is done in it.
    for name in ("my-app", "user@example.com", "select", 'quo"te', "it's; drop table x --", "Größe 表", "x" * 63):
        script = least(await asked(odd, name))
        literal = "'" + name.replace("'", "''") + "'"
        assert f"pgaadauth_create_principal_with_oid({literal}, '<object id>', 'service', false, false);" in script
        await odd.execute(ROWS)
        async with member(odd, name, script + script) as plain:
            assert (await odd.run(*CLEANUP, target=plain)).rows == 10


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\0b", "x" * 64, "ü" * 32, "public", "none", "pg_read_all_data"])
def test_a_name_that_no_role_can_have_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="so there is nothing to grant; --role takes"):
        checked_role(name)


async def test_the_command_line_prints_one_document_and_refuses_a_wrong_name(odd: Database) -> None:
    document = await odd.cli_json("sql", "grants", "--role", NAME)
    given = await asked(odd)
    assert document["role"] == NAME
    assert document["grants"] == [{"sql": str(grant), "why": grant.why} for grant in given.grants]
    assert document["remarks"] == list(given.remarks)
    done = await odd.cli("sql", "grants", "--role", "public")
    assert (done.returncode, done.stdout, done.stderr[:22]) == (2, "", "error: --role 'public'")
    assert await odd.values("select to_regnamespace('maintenance')::text") == [None]


async def test_what_is_absent_or_cannot_be_known_is_said(odd: Database) -> None:
    odd.write_policy(POLICY.replace('column = "labels"', 'column = "other"').replace("id)", "id and pi() > 3)"))
    said = [line for line in rendered(await asked(odd)).splitlines() if line.startswith("-- ")]
    # Before 17 there is one more, on the superuser who owns these tables.
    assert [line for line in said if "owns tables" not in line][-3:] == [
        "-- Odd One.cart: retention by at looks at other rows; grant also what a function in its condition reads.",
        "-- not_here is absent, so retention by at needs nothing of it.",
        "-- Odd One.page has no column other, so reference in unreferenced by name has no grants here.",
    ]


READ: dict[str, str | None] = {
    "kind = 'a'": '"at", "kind", "ctid"',
    "secret || kind <> ''": '"at", "secret", "kind", "ctid"',
    "1 + 1 = 2": '"at", "ctid"',
    "log.kind = 'a'": None,
    "log is not null": None,
    "log.* is not null": None,
    "xmin is not null": None,
    "exists (select from payroll)": None,
}


async def test_a_condition_makes_only_the_columns_readable_that_it_reads(odd: Database) -> None:
    await odd.execute('create view payroll as select * from "Odd One".payroll')
    for where, columns in READ.items():
        rule = f"table = 'Odd One.log'\ncolumn = 'at'\nkeep = '1 day'\nallow_empty = true\nwhere = \"{where}\""
        odd.write_policy(f"[[retention]]\n{rule}")
        given = await asked(odd)
        what = [str(grant.what) for grant in given.grants]
        inside = f" ({columns})" if columns else ""
        assert f'select{inside} on table "Odd One"."log"' in what
        assert ('select on table "public"."payroll"' in what) is ("payroll" in where)
        assert 'select on table "Odd One"."payroll"' not in what
        async with member(odd, NAME, least(given)) as plain:
            assert (await odd.run("retention", target=plain)).status is RunStatus.SUCCEEDED


async def test_partitions_and_their_guards_and_operators_of_another_schema(odd: Database) -> None:
    await odd.execute(
        """create schema ext; create extension citext schema ext; create table parent (id ext.citext);
        create table child (id ext.citext, at timestamptz, uses int) partition by list (id);
        create table child_a partition of child for values in ('a'); create table child_b partition of child default;
        insert into child values ('a', '2001-01-01'), ('b', '2001-01-01'), ('b', '2001-01-02')"""
    )
    odd.write_policy(
        """[[duplicates]]\ntables = ["child"]\nkey = ["id"]\nnewest = ["at"]
        [[orphans]]\ntables = ["child"]\ncolumn = "id"\nparent = "parent"\nparent_column = "id"
        [[unreferenced]]\ntable = "child"\ncolumn = "id"\ncount_column = "uses"
        references = [{ table = "parent", column = "id" }]"""
    )
    given = await asked(odd)
    assert 'usage on schema "ext"' in [grant.what for grant in given.grants]
    assert not [grant for grant in given.grants if grant.about == "public.child" and "delete" in grant.what]
    async with member(odd, NAME, least(given)) as plain:
        empty = await odd.run(*CLEANUP, target=plain)
        reasons = {(s.task, s.stop_reason) for s in empty.steps}
        assert reasons == {
            ("duplicates", StopReason.DONE), ("orphans", StopReason.GUARD), ("unreferenced", StopReason.GUARD),
        }  # fmt: skip
        await odd.execute("insert into parent values ('A')")
        run = await odd.run(*CLEANUP, target=plain)
        assert (run.status, run.rows, empty.rows) == (RunStatus.SUCCEEDED, 1, 1)


async def test_retention_of_a_partitioned_table_needs_no_more_than_its_grants(odd: Database) -> None:
    await odd.execute(
        """create table child (id int, at timestamptz not null) partition by range (at);
        create table child_a partition of child for values from ('2000-01-01') to ('2001-01-01');
        create table child_b partition of child for values from ('2001-01-01') to ('2200-01-01');
        insert into child values (1, '2000-02-01'), (2, '2001-02-01'), (3, now())"""
    )
    odd.write_policy('[[retention]]\ntable = "child"\ncolumn = "at"\nkeep = "30 days"\n')
    async with member(odd, NAME, least(await asked(odd))) as plain:
        run = await odd.run("retention", target=plain)
        assert (run.status, run.rows) == (RunStatus.SUCCEEDED, 2), run.error


async def test_before_17_the_owners_stand_for_maintain_and_may_be_left_out(
    odd: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grants, "MAINTAIN_SINCE", 99)
    await odd.execute('create role "The Owner"; grant usage on schema "Odd One" to "The Owner"')
    try:
        for table in await odd.values(
            "select oid::regclass from pg_class where relnamespace = '\"Odd One\"'::regnamespace"
        ):
            await odd.execute(f'alter table {table} owner to "The Owner"')
        await odd.execute('alter role "The Owner" createrole')
        mighty = await asked(odd)
        assert mighty.memberships == ()
        assert any("The Owner owns tables" in remark for remark in mighty.remarks)
        await odd.execute('alter role "The Owner" nocreaterole')
        given = await asked(odd)
        assert [str(grant.what) for grant in given.memberships] == ['"The Owner"']
        assert not [grant for grant in given.grants if "maintain" in grant.what]
        async with member(odd, NAME, least(given)) as plain:
            assert (await odd.run(*CLEANUP, target=plain)).status is RunStatus.SUCCEEDED
            blocked = await odd.run("statistics", target=plain)
            assert {s.status for s in blocked.steps} == {StepStatus.BLOCKED}
            await odd.execute(rendered(given))
            blocked = await odd.run("statistics", target=plain)
            assert {s.status for s in blocked.steps} == {StepStatus.BLOCKED}
            await odd.execute(rendered(given).replace('-- grant "The Owner"', 'grant "The Owner"'))
            assert (await odd.run(*TASKS, target=plain)).status is RunStatus.SUCCEEDED
    finally:
        await odd.execute('drop owned by "The Owner" cascade; drop role "The Owner"')


async def test_a_limit_on_replicas_asks_an_administrator_for_the_right_to_see_them(odd: Database) -> None:
    assert (await asked(odd)).monitoring == ()
    odd.write_policy(POLICY + '[lag]\nreplay = "10 seconds"\n')
    given = await asked(odd)
    granted = rendered(given).split("\ncommit;")[1]
    assert '\ngrant pg_read_all_stats to "My ""App""' in granted
    document = await odd.cli_json("sql", "grants", "--role", NAME)
    assert document["monitoring"] == [{"sql": str(grant), "why": grant.why} for grant in given.monitoring]
    async with member(odd, NAME, least(replace(given, monitoring=()))) as plain:
        run = await odd.run(*CLEANUP, target=plain)
        assert (run.status, run.rows) == (RunStatus.SUCCEEDED, 10)
        assert "[lag] replay is off" in (run.note or "")
        await odd.execute(least(given))
        assert (await odd.run(*CLEANUP, target=plain)).note is None


async def test_the_role_is_told_of_a_run_by_another_role(odd: Database) -> None:
    async with member(odd, NAME, least(await asked(odd))) as plain:
        await odd.execute("select pg_advisory_lock(1296124238, 1)")
        run = await odd.run("retention", target=plain)
        assert (run.status, run.stop_reason) == (RunStatus.SKIPPED, StopReason.LEASE)
        assert f"process {odd.connection.get_server_pid()})" in (run.error or "")
