"""The rights that the ledger needs: with them a plain role runs, without them nothing is deleted and it is told why."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import pytest

from maintenance.database import connected
from maintenance.errors import LedgerError
from maintenance.ledger import Ledger
from maintenance.models import RunStatus
from maintenance.target import Target
from tests.databases import Database
from tests.sessions import LEDGER_GRANTS, role

_POLICY = """
[[retention]]
table = "t"
column = "at"
keep = "30 days"
"""


async def expiring(database: Database) -> None:
    """A table with three expired rows and one that stays, and its policy."""
    await database.execute(
        "create table t (id int, at timestamptz); insert into t values (0, now());"
        "insert into t select n, now() - interval '40 days' from generate_series(1, 3) n"
    )
    database.write_policy(_POLICY)


@pytest.mark.parametrize(
    ("installed", "grants"),
    [
        (False, ()),
        (True, ()),
        (True, LEDGER_GRANTS[1:]),
        (True, ("grant create on database {database} to {role}",)),
        (True, (LEDGER_GRANTS[0], "grant select on all tables in schema maintenance to {role}")),
        (True, (LEDGER_GRANTS[0], "grant select, insert, update on all tables in schema maintenance to {role}")),
    ],
)
async def test_without_the_rights_to_the_ledger_nothing_is_deleted_and_the_error_says_what_to_grant(
    database: Database, installed: bool, grants: tuple[str, ...]
) -> None:
    await expiring(database)
    if installed:
        await Ledger(database.connection).install()
    async with role(database, "grant select, delete on t to {role}", *grants) as plain:
        with pytest.raises(LedgerError, match=f"GRANT CREATE ON DATABASE {database.name} TO {plain.user}") as caught:
            await database.run("retention", target=plain)
        assert f"GRANT USAGE ON SCHEMA maintenance TO {plain.user}" in str(caught.value)
        plan = await database.plan("retention", target=plain)
        assert [s.rows for s in plan.steps] == [3]
    assert await database.values("select count(*) from t") == [4]


async def test_without_the_right_to_make_the_ledger_run_and_install_end_with_2(database: Database) -> None:
    await expiring(database)
    async with role(database, "grant select, delete on t to {role}") as plain:
        for verb in ("run", "install"):
            done = await database.cli(verb, **_user(plain))
            assert (done.returncode, done.stdout) == (2, "")
            assert "GRANT CREATE ON DATABASE" in done.stderr
            assert "Traceback" not in done.stderr
    assert await database.values("select count(*) from t") == [4]


@pytest.mark.parametrize("made_by", ["the owner", "the role"])
async def test_a_role_with_only_the_granted_rights_can_run(database: Database, made_by: str) -> None:
    """Either the rights to a ledger that is there, or the right to make it."""
    await expiring(database)
    grants: tuple[str, ...] = ("grant create on database {database} to {role}",)
    if made_by == "the owner":
        await Ledger(database.connection).install()
        grants = LEDGER_GRANTS
    async with role(database, "grant select, delete on t to {role}", *grants) as plain:
        runs = [await database.run("retention", target=plain) for _ in range(2)]
        assert [(run.status, run.rows) for run in runs] == [(RunStatus.SUCCEEDED, 3), (RunStatus.SUCCEEDED, 0)]
        async with connected(replace(database.settings, target=plain), name="holder") as holder:
            await holder.execute("select pg_advisory_lock(1296124238, 1)")
            assert (await database.run("retention", target=plain)).status is RunStatus.SKIPPED
        assert len(json.loads((await history(database, plain)).stdout)["runs"]) == 3


async def test_a_role_that_may_only_read_the_ledger_sees_its_history_and_one_that_may_not_is_told(
    database: Database,
) -> None:
    await expiring(database)
    run = await database.run("retention")
    async with role(database) as plain:
        denied = await history(database, plain)
        assert denied.returncode == 2, denied.stdout
        assert "GRANT" in denied.stderr
        await database.execute(f"grant usage on schema maintenance to {plain.user}")
        await database.execute(f"grant select on all tables in schema maintenance to {plain.user}")
        assert [r["id"] for r in json.loads((await history(database, plain)).stdout)["runs"]] == [run.id]


async def history(database: Database, reader: Target) -> subprocess.CompletedProcess[str]:
    return await database.cli("history", "--json", **_user(reader))


def _user(target: Target) -> dict[str, str]:
    return {"PGUSER": target.user or "", "PGPASSWORD": target.password or ""}
