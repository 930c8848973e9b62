"""Bringing rows back: only whole archives, only what fits, never over what the application has done since."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from maintenance.demo.server import Server
from tests.archives import contents, filled, manifests, objects, restored, rule, states
from tests.databases import Database, fresh
from tests.sessions import application


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    return folder


async def archived(database: Database, shelf: Path, rows: int = 10) -> int:
    """A run that has deleted so many rows; returns its id."""
    await filled(database, rows)
    run = await database.run("retention", policy=rule(shelf))
    assert run.rows == rows
    return run.id


async def test_a_row_that_the_application_has_made_again_stays(database: Database, shelf: Path) -> None:
    run = await archived(database, shelf)
    await database.execute("insert into log values (3, '2020-01-01', 'new'), (11, now(), 'other')")
    (one,) = await restored(database, run)
    assert (one["rows"], one["inserted"], one["present"]) == (10, 9, 1)
    assert await database.values("select note from log where id in (3, 11) order by id") == ["new", "other"]
    assert len(await contents(database)) == 12


async def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


async def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


async def rewritten(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"5\t", b"6\t", 1)))


async def lengthened(path: Path) -> None:
    path.write_bytes(path.read_bytes() + gzip.compress(b"x\n"))


async def no_gzip(path: Path) -> None:
    path.write_bytes(b"1\t2\t3\n")


@pytest.mark.parametrize("damage", [cut_short, flipped, rewritten, lengthened, no_gzip])
async def test_a_damaged_object_is_found_before_anything_is_inserted(
    database: Database, shelf: Path, damage: object
) -> None:
    await filled(database, 5)
    await database.execute("create table other as select * from log; alter table other add primary key (id)")
    run = await database.run("retention", policy=rule(shelf, "log", "other"))
    assert (run.rows, len(objects(shelf))) == (10, 2)
    assert callable(damage)
    await damage(objects(shelf)[0])
    message = await restored(database, run.id, exit_code=1)
    assert objects(shelf)[0].name in message
    assert "nothing of it was brought back" in message
    assert await database.values("select count(*) from log union all select count(*) from other") == [1, 1]
    assert (await restored(database, run.id, "--table", "other"))[0]["inserted"] == 5


async def test_without_its_rows_a_manifest_says_that_they_are_removed(database: Database, shelf: Path) -> None:
    run = await archived(database, shelf)
    objects(shelf)[0].unlink()
    assert await states(database) == ["removed"]
    assert "(removed)" in await restored(database, run, exit_code=1)


async def test_a_table_that_has_changed_is_refused_and_another_one_may_take_the_rows(
    database: Database, shelf: Path
) -> None:
    run = await archived(database, shelf)
    await database.execute("create table other (id int, at timestamptz, note text, more int default 7)")
    await database.execute("alter table log rename note to remark")
    assert "has a column 'note', and the table has no column of that name" in await restored(database, run, exit_code=1)
    await database.execute("alter table log drop remark; alter table log add note varchar")
    assert "note was of type text and is of type character varying" in await restored(database, run, exit_code=1)
    await database.execute("drop table log")
    assert "There is no table public.log any more" in await restored(database, run, exit_code=1)
    (one,) = await restored(database, run, "--into", "other")
    assert (one["into"], one["inserted"]) == ("public.other", 10)
    assert (await restored(database, run, "--into", "public.other"))[0]["inserted"] == 0
    assert await database.values("select distinct more from other") == [7]


async def test_a_trigger_that_changes_or_keeps_out_rows_is_told_of(database: Database, shelf: Path) -> None:
    run = await archived(database, shelf)
    for body, word in (("new.note := 'x'; return new;", "other values"), ("return null;", "cannot come back")):
        await database.execute(
            f"create or replace function f() returns trigger language plpgsql as $$ begin {body} end $$;"
            "create or replace trigger meddles before insert on log for each row execute function f()"
        )
        message = await restored(database, run, exit_code=1)
        assert word in message
        assert "it has meddles" in message
        assert len(await contents(database)) == 1
    await database.execute("alter table log disable trigger meddles; alter table log add unique (note)")
    await database.execute("insert into log values (99, now(), 'ü3')")
    assert "1 rows of public.log cannot come back" in await restored(database, run, exit_code=1)
    assert len(await contents(database)) == 2


async def test_parents_come_back_before_their_children(database: Database, shelf: Path) -> None:
    await database.execute(
        """create table a_child (id int, at timestamptz); create table log (id int primary key, at timestamptz);
        insert into log values (1, '2001-01-01'); insert into a_child values (1, '2001-01-01')"""
    )
    run = await database.run("retention", policy=rule(shelf, "log", "a_child"))
    await database.execute("alter table a_child add foreign key (id) references log")
    assert [one["table"] for one in await restored(database, run.id)] == ["public.log", "public.a_child"]


async def test_a_lost_ledger_leaves_the_word_of_the_manifests(database: Database, shelf: Path) -> None:
    run = await archived(database, shelf)
    (path,) = manifests(shelf)
    await database.execute("drop schema maintenance cascade")
    assert (await restored(database, run))[0]["inserted"] == 10
    path.write_text(path.read_text(encoding="utf-8").replace('"committed"', '"stored"'), encoding="utf-8")
    assert await states(database) == ["unknown"]
    assert "(unknown)" in await restored(database, run, exit_code=1)


async def test_what_lies_elsewhere_than_it_says_is_not_believed(database: Database, shelf: Path) -> None:
    run = await archived(database, shelf)
    (path,) = manifests(shelf)
    told = json.loads(path.read_text(encoding="utf-8"))
    for wrong in ({"object": f"../{told['object']}"}, {"version": 2}, {"rows": "10"}, {"columns": [1]}):
        path.write_text(json.dumps({**told, **wrong}), encoding="utf-8")
        assert "the manifest " in await restored(database, run, exit_code=1)
    path.write_bytes(b"\xff")
    assert await states(database) == ["unreadable"]
    assert "cannot be understood" in await restored(database, run, exit_code=1)


async def test_two_databases_share_a_store_and_keep_apart(
    database: Database, server: Server, shelf: Path, tmp_path: Path
) -> None:
    run = await archived(database, shelf)
    async with fresh(server, "archive / ünd more", tmp_path / "archive") as other:
        other_policy = rule(shelf)
        other.write_policy(other_policy)
        document = await other.cli_json("archives")
        assert (document["archives"], len(document["others"])) == ([], 1)
        await filled(other, 3)
        again = await other.run("retention", policy=other_policy)
        assert (again.id, again.rows) == (run, 3)
        assert [(one["rows"], one["inserted"]) for one in await restored(other, run)] == [(3, 3)]
        origin = document["others"][0]
        assert (await restored(other, run, "--origin", origin))[0]["rows"] == 10
    assert [entry["rows"] for entry in (await database.cli_json("archives"))["archives"]] == [10]


async def test_words_that_cannot_be_used_are_refused(database: Database, shelf: Path) -> None:
    run = await archived(database, shelf)
    for words, said in (
        (("--table", "nothing"), "nothing of run 1 of table 'nothing'"),
        (("--table", 'lo"g'), "--table: "),
        (("--archive", "https://elsewhere"), "--archive 'https://elsewhere' is neither"),
        (("--archive", "azure-blob"), "MAINTENANCE_ARCHIVE_URL is not set"),
        (("--origin", "here"), "--origin is 'here'"),
    ):
        assert said in await restored(database, run, *words, exit_code=2)
    assert "nothing of run 7" in await restored(database, 7, exit_code=2)
    shelf.rename(shelf.with_name("moved"))
    assert "archive: No such folder), so nothing was done" in await restored(database, run, exit_code=1)
    database.write_policy("")
    assert "No rule of the policy has an archive" in await restored(database, run, exit_code=2)
    moved = shelf.with_name("moved").as_uri()
    assert (await restored(database, run, "--archive", moved))[0]["inserted"] == 10


async def test_a_restore_does_not_begin_beside_a_run(database: Database, shelf: Path) -> None:
    run = await archived(database, shelf)
    async with application(database) as other:
        await other.execute("select pg_advisory_lock(1296124238, 1)")
        assert "Another run holds the lease" in await restored(database, run, exit_code=4)
    assert len(await contents(database)) == 1


async def test_a_person_reads_tables(database: Database, shelf: Path) -> None:
    run = await archived(database, shelf)
    listed = await database.cli("archives")
    assert " ".join(listed.stdout.split()).count("1 log retention 1 10 ") == 1, listed.stdout
    assert "committed" in listed.stdout
    done = await database.cli("restore", "--run", str(run))
    assert f"Run {run}: 10 rows brought back" in done.stdout


@pytest.mark.parametrize(
    "keys",
    [
        "primary key (id) deferrable",
        "primary key (id), unique (note) deferrable initially deferred",
        "unique (note) deferrable",
        "primary key (id), exclude using btree (note with =) deferrable",
    ],
)
async def test_rows_come_back_into_a_table_with_deferrable_keys(database: Database, shelf: Path, keys: str) -> None:
    run = await archived(database, shelf)
    await database.execute(f"alter table log drop constraint log_pkey, add {keys.replace(', ', ', add ')}")
    await database.execute("insert into log values (3, now(), 'ü3')" if "primary" in keys else "select")
    present = 1 if "primary" in keys else 0
    (one,) = await restored(database, run)
    assert (one["inserted"], one["present"]) == (10 - present, present)
    assert (await restored(database, run))[0]["inserted"] == 0
    if "note" in keys:
        await database.execute("delete from log where id = 4; insert into log values (99, now(), 'ü4')")
        assert "log does not take the rows (" in await restored(database, run, exit_code=1)
    assert len(await contents(database)) == 11


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("alter table log add more int not null default 1; alter table log alter more drop default", "null value in"),
        ("alter table log add check (id = 0) not valid", "violates check constraint"),
        ("create rule away as on insert to log do instead nothing", "cannot perform INSERT RETURNING"),
        (
            "create table up (id int primary key); alter table log add foreign key (id) references up not valid",
            "violates foreign key constraint",
        ),
    ],
)
async def test_what_a_table_has_against_its_rows_is_told(
    database: Database, shelf: Path, change: str, said: str
) -> None:
    run = await archived(database, shelf)
    await database.execute(change)
    message = await restored(database, run, exit_code=1)
    assert "public.log does not take the rows (" in message
    assert said in message
    assert "nothing of it was brought back" in message
    assert len(await contents(database)) == 1


async def test_a_partitioned_table_is_named_as_one(database: Database, shelf: Path) -> None:
    await database.execute(
        "create table log (id int, at timestamptz) partition by range (id);"
        "create table log_a partition of log for values from (0) to (5);"
        "create table log_b partition of log default partition by range (id);"
        "create table log_c partition of log_b default;"
        "insert into log select i, '2020-01-01' from generate_series(1, 10) i; create table other as table log"
    )
    run = await database.run("retention", policy=rule(shelf, "log", "other"))
    assert run.rows == 20
    back = await restored(database, run.id, "--table", "log")
    assert sorted((one["table"], one["inserted"]) for one in back) == [("public.log_a", 4), ("public.log_c", 6)]
    assert (await restored(database, run.id, "--table", "other"))[0]["inserted"] == 10


async def test_a_null_in_an_array_comes_back_as_none_other(database: Database, shelf: Path) -> None:
    await database.execute(
        "create table log (id int, at timestamptz, words text[]);"
        "insert into log values (1, '2020-01-01', array['a', null]), (2, '2020-01-01', array['a', 'NULL'])"
    )
    before = await contents(database)
    await database.execute(f"alter database {database.name} set array_nulls = off")
    try:
        run = await database.run("retention", policy=rule(shelf))
        assert (await restored(database, run.id))[0]["inserted"] == 2
        assert await contents(database) == before
    finally:
        await database.execute(f"alter database {database.name} reset array_nulls")
