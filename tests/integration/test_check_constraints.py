"""`check`: the constraints behind duplicates and orphans, missing, not validated, and in place."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from maintenance.findings import Severity
from tests.checks import POLICY, apply, codes, look, only
from tests.databases import Database
from tests.sessions import counted

_ITEMS = """
create table device (id {parent});
create table item (id int primary key, device {child}, at timestamptz);
"""
_ITEM_RULES = POLICY.split("[[duplicates]]")[1].join(["[[duplicates]]", ""])


@pytest.mark.parametrize(
    ("parent", "child", "constraint", "found", "words"),
    [
        ("int primary key", "int unique references device", "", [], ""),
        ("int primary key", "int unique", "", ["foreign_key.missing"], "1 rows have no parent now"),
        ("int primary key", "int references device", "", ["unique.missing"], "1 rows break the rule now"),
        ("int primary key", "int", "", ["foreign_key.missing", "unique.missing"], "now"),
        ("int primary key", "int unique",
         "alter table item add constraint k foreign key (device) references device not valid",
         ["foreign_key.unvalidated"], "k is not validated"),
        ("int", "int unique", "", ["foreign_key.missing"], "no foreign key"),
        ("text primary key", "varchar(20) unique", "", ["foreign_key.missing"], "no foreign key"),
    ],
)  # fmt: skip
async def test_constraints_behind_duplicates_and_orphans(
    database: Database, parent: str, child: str, constraint: str, found: list[str], words: str
) -> None:
    await database.execute(_ITEMS.format(parent=parent, child=child))
    await database.execute("insert into device select generate_series(1, 3); insert into item values (1, '1', now())")
    if "references" not in child and "text" not in parent:
        await database.execute("insert into item values (2, 9, now())")
    if "unique" not in child:
        await database.execute("insert into item values (3, 1, now())")
    if constraint:
        await database.execute(constraint)
    database.write_policy(_ITEM_RULES)
    examination = await look(database, "constraints")
    assert codes(examination) == found
    if words.endswith("now"):
        assert all(words.split(" ", 1)[-1] in one.fact for one in examination.findings)
    await database.run("duplicates", "orphans")
    if parent == "int":
        assert "first a unique constraint" in only(await look(database, "constraints"), "foreign_key.missing").remedy
        await database.execute("alter table device add primary key (id)")
    for one in (await look(database, "constraints")).findings:
        assert one.severity is Severity.ADVICE
        await apply(database, one.cure)
    assert codes(await look(database, "constraints")) == []


async def test_a_foreign_key_that_is_not_enforced(database: Database) -> None:
    if database.connection.get_server_version().major < 18:
        return
    await database.execute(_ITEMS.format(parent="int primary key", child="int unique"))
    await database.execute("alter table item add foreign key (device) references device not enforced")
    database.write_policy(_ITEM_RULES)
    found = only(await look(database, "constraints"), "foreign_key.unvalidated")
    assert (found.cure, "NOT ENFORCED" in found.fact) == (None, True)
    await database.execute("alter table item alter constraint item_device_fkey enforced")
    assert codes(await look(database, "constraints")) == []


async def test_what_the_ledger_knows_of_them_is_told(database: Database) -> None:
    await database.execute(_ITEMS.format(parent="int primary key", child="int"))
    await database.execute(
        "insert into device values (1); insert into item values (1, 1, now()), (2, 1, now()), (3, 2, now())"
    )
    database.write_policy(_ITEM_RULES)
    assert "python -m maintenance run orphans --tables public.item" in str(
        only(await look(database, "constraints"), "foreign_key.missing").cure
    )
    await database.run("duplicates", "orphans")
    examination = await look(database, "constraints")
    assert all("in the last 30 days 1 were deleted" in one.fact for one in examination.findings)
    assert all("Fails until" not in str(one.cure) for one in examination.findings)


async def test_rows_within_the_grace_of_a_rule_are_in_the_way_of_a_key(database: Database) -> None:
    await database.execute(_ITEMS.format(parent="int primary key", child="int unique"))
    await database.execute("insert into device values (1); insert into item values (1, 1, now()), (2, 9, now())")
    database.write_policy(_ITEM_RULES + 'grace = "1 day"\nage_column = "at"\n')
    found = only(await look(database, "constraints"), "foreign_key.missing")
    assert "1 rows have no parent now" in found.fact
    assert "Fails until the rows are gone" in str(found.cure)
    assert "younger than the rule's grace of 1 day" in str(found.cure)
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await apply(database, found.cure)
    found = only(await look(database, "constraints"), "foreign_key.unvalidated")
    assert "Fails until the rows are gone" in str(found.cure)


async def test_what_could_not_be_counted_may_be_in_the_way(database: Database) -> None:
    await database.execute(_ITEMS.format(parent="int primary key", child="int"))
    await database.execute("insert into device values (1); insert into item values (1, 9, now()), (2, 9, now())")
    database.write_policy(_ITEM_RULES)
    for one in (await look(database, "constraints", count=0.0)).findings:
        assert "Fails until the rows are gone that break the rule (not counted here" in str(one.cure)
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await apply(database, one.cure)


async def test_a_rule_that_archives_its_rows_gets_no_key_that_deletes_them(database: Database, tmp_path: Path) -> None:
    await database.execute(_ITEMS.format(parent="int primary key", child="int unique"))
    database.write_policy(_ITEM_RULES)
    assert "on delete cascade" in str(only(await look(database, "constraints"), "foreign_key.missing").cure)
    database.write_policy(_ITEM_RULES + f'archive = "file://{tmp_path}"\n')
    found = only(await look(database, "constraints"), "foreign_key.missing")
    assert (found.cure, "archive" in found.remedy) == (None, True)


async def test_a_partitioned_table_gets_no_statement_that_would_lock_it(database: Database) -> None:
    await database.execute(
        "create table device (id int primary key); create table item (id int, device int, at timestamptz)"
        " partition by list (id); create table one partition of item for values in (1)"
    )
    database.write_policy(_ITEM_RULES)
    examination = await look(database, "constraints")
    assert codes(examination) == ["foreign_key.missing"]
    cure = only(examination, "foreign_key.missing").cure
    assert (cure is None) is (database.connection.get_server_version().major < 18)
    if cure is not None:
        await apply(database, cure)
        assert codes(await look(database, "constraints")) == []
    database.write_policy(_ITEM_RULES.replace('key = ["device"]', 'key = ["device", "id"]'))
    found = only(await look(database, "constraints"), "unique.missing")
    assert (found.cure, "ATTACH PARTITION" in found.remedy) == (None, True)


async def test_names_that_are_taken_or_too_long_get_another(database: Database) -> None:
    long = "t" * 60
    await database.execute(
        f"create table device (id int primary key); create table {long} (device int, at timestamptz);"
        "create table item (device int, at timestamptz); create table item_device_key (x int)"
    )
    database.write_policy(_ITEM_RULES.replace('"item"', f'"item", "{long}"'))
    await counted(database)
    examination = await look(database, "constraints")
    assert codes(examination) == ["foreign_key.missing"] * 2 + ["unique.missing"] * 2
    for one in examination.findings:
        await apply(database, one.cure)
    assert codes(await look(database, "constraints")) == []


async def test_a_key_that_is_proposed_brings_its_index(database: Database) -> None:
    await database.execute(
        "create table parent (id int primary key); create table child (id int primary key, parent int);"
        "insert into parent values (1); insert into child values (1, 1)"
    )
    policy = '[[orphans]]\ntables = ["child"]\ncolumn = "parent"\nparent = "parent"\nparent_column = "id"\n'
    cure = str(only(await look(database, "constraints", policy=policy), "foreign_key.missing").cure)
    assert cure.startswith('create index concurrently "child_parent_idx" on "public"."child" ("parent");\nalter table')
    await database.execute("create index on child (parent)")
    cure = str(only(await look(database, "constraints"), "foreign_key.missing").cure)
    assert cure.startswith("alter table")
