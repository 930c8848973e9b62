"""Freezing: tables with old transaction and multixact IDs are vacuumed before autovacuum has to, and are young then."""

from __future__ import annotations

from tests.databases import Database, planned_step
from tests.sessions import application

_BURN_1001_TRANSACTIONS = """
do $$ begin for i in 1..1001 loop perform pg_current_xact_id(); commit; end loop; end $$
"""


async def made(database: Database) -> None:
    """A table of one row, freshly vacuumed, that autovacuum leaves alone."""
    await database.execute("create table t (id int) with (autovacuum_enabled = false)")
    await database.execute("insert into t values (1)")
    await database.execute("vacuum t")


async def test_a_table_with_old_transaction_ids_is_vacuumed_and_young_afterwards(database: Database) -> None:
    policy = "[vacuum]\nxid_age = 1000"
    await made(database)
    await database.execute(_BURN_1001_TRANSACTIONS)
    plan = await database.plan("vacuum", policy=policy)
    assert "transactions since the last freeze" in planned_step(plan, "vacuum", "public.t").summary
    await database.run("vacuum", policy=policy)
    assert await database.values("select age(relfrozenxid) < 1000 from pg_class where relname = 't'") == [True]
    assert (await database.run("vacuum", policy=policy)).steps == ()


async def test_the_age_of_a_toast_table_counts_for_its_table(database: Database) -> None:
    await made(database)
    await database.execute("alter table t add body text")
    await database.execute(_BURN_1001_TRANSACTIONS)
    await database.execute("vacuum (freeze, process_toast false) t")
    ages = (
        "select age(c.relfrozenxid) < 1000, age(toast.relfrozenxid) > 1000"
        " from pg_class c join pg_class toast on toast.oid = c.reltoastrelid where c.relname = 't'"
    )
    assert tuple(await database.connection.fetchrow(ages) or ()) == (True, True)
    plan = await database.plan("vacuum", policy="[vacuum]\nxid_age = 1000")
    assert "transactions since the last freeze" in planned_step(plan, "vacuum", "public.t").summary


async def test_a_table_with_old_multixacts_is_vacuumed(database: Database) -> None:
    await made(database)
    async with application(database) as first, application(database) as second:
        await first.execute("begin; select from t for key share")
        for _ in range(12):
            await second.execute("begin; select from t for key share; commit")
        await first.execute("commit")
    plan = await database.plan("vacuum", policy="[vacuum]\nxid_age = 10")
    assert "multixacts since the last freeze" in planned_step(plan, "vacuum", "public.t").summary
