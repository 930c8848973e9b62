"""Archives in a folder: every row is stored and read back before it goes, and comes back as it was."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import stat
from pathlib import Path

import pytest

from maintenance.models import RunStatus, StopReason
from tests.archives import contents, filled, manifests, objects, restored, rule
from tests.databases import ROOT, Database
from tests.odd_schema import asked, least, member

TYPES = """
create type mood as enum ('sad', 'ok', 'häppy');
create type pair as (a int, b text);
create domain name_of as text check (value <> '');
create table kinds (
    id bigint generated always as identity primary key, serial serial, at timestamptz not null,
    small smallint, large numeric, exact numeric(12, 4), approximate double precision, single real, flag boolean,
    text text, fixed char(7), short varchar(9), raw bytea, doc json, docb jsonb, mood mood, moods mood[],
    numbers int[], words text[], matrix int[], day date, hour time, hour_tz timetz, naive timestamp, span interval,
    key uuid, address inet, network cidr, mac macaddr, bits bit(5), varbits bit varying, range int4range,
    ranges tstzmultirange, point point, vector tsvector, cash money, pair pair, named name_of, oid oid, char "char",
    twice bigint generated always as (id * 2) stored, xid xid8
);
insert into kinds (at, small, large, exact, approximate, single, flag, text, fixed, short, raw, doc, docb, mood, moods,
    numbers, words, matrix, day, hour, hour_tz, naive, span, key, address, network, mac, bits, varbits, range, ranges,
    point, vector, cash, pair, named, oid, char, xid)
select timestamptz '2001-02-03 04:05:06.789012+03' + n * interval '1.000001 second', 32767, 'NaN', -0.5,
    0.1::float8 + 0.2, 1e-30, true,
    E'tab\\t newline\\n return\\r backslash\\\\ quote'' "double" \\\\N \\b\\f\\v ünï 漢字 🐘' || n, 'abc', 'ä',
    '\\x00ff0a0d5c09'::bytea || convert_to(n::text, 'UTF8'), '{"b": 1,  "a": [1, null], "b": 2}',
    '{"b": 1, "a": [1.10, "\\n"]}',
    'häppy', '{sad,NULL,häppy}', '{1,NULL,-3}', array['', 'NULL', null, 'a,b', '{x}', E'back\\\\slash', ' '],
    '[2:3][0:1]={{1,2},{3,4}}', 'infinity', '23:59:59.999999', '12:00:00+05:30', '-infinity',
    '1 year -2 mons 3 days -04:05:06.7',
    '00000000-0000-0000-0000-00000000000a', '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03', '10101', '1', '[1,5)',
    '{[2001-01-01 00:00+00,2002-01-01 00:00+00)}', '(1.5,-0)', 'a:1 b:2', 12.34, '(1,)', 'x', 4294967295, 'z', '9'
from generate_series(1, 50) n;
insert into kinds (at) values ('-infinity'), ('1900-01-01 00:00:00.000001+00');
insert into kinds (at, text) values (now(), 'stays');
"""


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    folder = tmp_path / "an archive ü"
    folder.mkdir()
    return folder


async def test_every_type_comes_back_byte_for_byte_and_once(database: Database, shelf: Path) -> None:
    await database.execute(TYPES)
    before = await contents(database, "kinds")
    binary = await database.values("select record_send(t) from kinds t order by id")
    run = await database.run("retention", policy=rule(shelf, "kinds"))
    assert (run.status, run.rows, len(await contents(database, "kinds"))) == (RunStatus.SUCCEEDED, 52, 1)
    (one,) = await restored(database, run.id)
    assert (one["table"], one["rows"], one["inserted"], one["present"]) == ("public.kinds", 52, 52, 0)
    assert await contents(database, "kinds") == before
    assert await database.values("select record_send(t) from kinds t order by id") == binary
    (again,) = await restored(database, run.id)
    assert (again["inserted"], again["present"]) == (0, 52)
    assert await contents(database, "kinds") == before


async def test_what_the_database_is_set_to_changes_nothing(database: Database, shelf: Path) -> None:
    settings = {
        "extra_float_digits": "-9", "bytea_output": "escape", "datestyle": "German", "intervalstyle": "iso_8601",
        "timezone": "Asia/Kolkata", "xmloption": "document", "array_nulls": "on", "synchronous_commit": "local",
    }  # fmt: skip
    for name, value in settings.items():
        await database.execute(f"alter database {database.name} set {name} = '{value}'")
    await database.execute(
        """create table log (at timestamptz, float float8, single float4, raw bytea, span interval, day date,
            cash money, seen text default current_setting('synchronous_commit'));
        insert into log values ('2001-02-03 04:05:06.7+00', 0.1::float8 + 0.2, 1e-7, '\\x00ff5c',
            '1 mon -1 day 00:00:00.1', '2001-02-03', 92233720368547758.07)"""
    )
    await database.execute(
        """create table seen (setting text); create function look() returns trigger language plpgsql as $$ begin
            insert into seen values (current_setting('synchronous_commit')); return old; end $$;
        create trigger look before delete on log for each row execute function look()"""
    )
    before = await contents(database)
    run = await database.run("retention", policy=rule(shelf))
    assert (run.rows, await database.values("select setting from seen")) == (1, ["local"])
    assert (await restored(database, run.id))[0]["inserted"] == 1
    assert await contents(database) == before


async def test_a_manifest_tells_what_its_object_is(database: Database, shelf: Path) -> None:
    await filled(database)
    run = await database.run("retention", policy=rule(shelf))
    (path,), (rows,) = manifests(shelf), objects(shelf)
    text = gzip.decompress(rows.read_bytes())
    told = json.loads(path.read_text(encoding="utf-8"))
    assert text.splitlines()[0].decode().split("\t")[::2] == ["1", "ü1"]
    assert (told["state"], told["run"], told["table"], told["rows"]) == ("committed", run.id, "log", 100)
    assert (told["first_key"], told["last_key"], told["key"]) == (["1"], ["100"], ["id"])
    assert told["sha256"] == hashlib.sha256(text).hexdigest()
    assert told["size"] == rows.stat().st_size
    assert told["columns"][1] == {"name": "at", "type": "timestamp with time zone"}
    assert told["object"] == rows.relative_to(shelf).as_posix()
    assert stat.S_IMODE(rows.stat().st_mode) == 0o600
    assert await database.values("select object || rows || marked from maintenance.archive") == [
        f"{told['object']}100true"
    ]


async def test_rows_of_odd_tables_without_a_key_come_back_as_often_as_they_were(
    database: Database, shelf: Path
) -> None:
    leaf = '"le""af.of/ä \'..\'"'
    await database.execute(
        f"""create table "Größe/x" (at timestamptz, "co$1st" int, note json) partition by range (at);
        create table {leaf} partition of "Größe/x" for values from (minvalue) to ('2020-01-01');
        create table "Größe/rest" partition of "Größe/x" default;
        insert into "Größe/x" select '2001-01-01', n, v::json from (values (1, '{{"a":1}}'), (1, '{{"a":1}}'),
            (1, '{{"a": 1}}'), (2, null), (2, null), (null, null)) as t (n, v);
        insert into "Größe/x" values (now(), 1, '1')"""
    )
    before = await contents(database, '"Größe/x"')
    policy = rule(shelf, "Größe/x") + "where = \"note::text is distinct from '$1'\"\n"
    (step, *_) = (await database.plan("retention", policy=policy)).steps
    assert step.strategy == "heap"
    run = await database.run("retention")
    assert (run.rows, len(await contents(database, '"Größe/x"'))) == (6, 1)
    # One of two alike is there again, and one that is like none.
    await database.execute("insert into \"Größe/x\" values ('2001-01-01', 2, null), ('2001-01-01', 3, null)")
    (one,) = await restored(database, run.id)
    assert (one["rows"], one["inserted"], one["present"]) == (6, 5, 1)
    assert (await restored(database, run.id))[0]["inserted"] == 0
    await database.execute('delete from "Größe/x" where "co$1st" = 3')
    assert await contents(database, '"Größe/x"') == before
    await database.execute('truncate "Größe/x"')
    (one,) = await restored(database, run.id, "--into", "Größe/x")
    assert (one["inserted"], one["into"]) == (6, "public.Größe/x")


async def test_partitions_are_not_dropped_but_emptied_where_the_rule_has_an_archive(
    database: Database, shelf: Path
) -> None:
    await database.execute(
        """create table log (at date not null) partition by range (at);
        create table log_old partition of log for values from ('2001-01-01') to ('2002-01-01');
        create table log_new partition of log for values from ('2002-01-01') to (maxvalue);
        insert into log values ('2001-01-01'), (current_date)"""
    )
    plan = await database.plan("retention", policy=rule(shelf))
    assert "partition" not in {step.strategy for step in plan.steps}
    assert all("row by row as the rule has an archive" in step.summary for step in plan.steps)
    run = await database.run("retention")
    assert (run.rows, await database.values("select count(*) from pg_inherits")) == (1, [2])
    assert (await restored(database, run.id))[0]["table"] == "public.log_old"


@pytest.mark.parametrize("action", ["cascade", "set null", "set default", "no action", "restrict"])
async def test_a_foreign_key_that_would_change_rows_unseen_blocks_the_step(
    database: Database, shelf: Path, action: str
) -> None:
    await filled(database, 2)
    await database.execute(f"create table part (log int constraint of_log references log on delete {action})")
    plan = await database.plan("retention", policy=rule(shelf))
    run = await database.run("retention")
    if action in ("no action", "restrict"):
        assert (run.status, run.rows) == (RunStatus.SUCCEEDED, 2)
        return
    assert (run.status, run.stop_reason, run.rows) == (RunStatus.FAILED, StopReason.BLOCKED, 0)
    assert f"of_log of part is ON DELETE {action.upper()}" in (run.error or "")
    assert (run.error or "") in plan.steps[0].summary
    await database.execute("alter table log disable trigger all")
    assert (await database.run("retention")).rows == 2


async def test_archives_are_removed_once_they_are_kept_long_enough(database: Database, shelf: Path) -> None:
    await filled(database, 2)
    policy = rule(shelf) + 'archive_keep = "90 days"\n'
    first = await database.run("retention", policy=policy)
    await database.execute("insert into log values (1, '2001-01-01')")
    await database.run("retention", policy=policy.replace("30 days", "31 days"))
    assert len(objects(shelf)) == 2
    await database.execute(
        f"update maintenance.archive set created_at = now() - interval '91 days' where run_id = {first.id}"
    )
    run = await database.run("retention")
    assert [step.note for step in run.steps] == ["1 object past archive_keep removed"]
    assert (len(objects(shelf)), len(manifests(shelf))) == (1, 1)
    assert await database.values("select run_id from maintenance.archive") == [first.id + 1]
    assert "nothing of run" in await restored(database, first.id, exit_code=2)


async def test_a_role_with_the_granted_rights_can_archive(database: Database, shelf: Path) -> None:
    await filled(database, 3)
    database.write_policy(rule(shelf))
    given = await asked(database, "archivist")
    assert 'select on table "public"."log"' in [str(grant.what) for grant in given.grants]
    async with member(database, "archivist", least(given)) as plain:
        run = await database.run("retention", target=plain)
        assert (run.status, run.rows) == (RunStatus.SUCCEEDED, 3)
        # Who may not ask for the server's identifier calls it by its host.
        await database.execute("insert into log values (1, '2001-01-01')")
        await database.execute("revoke execute on function pg_control_system() from public")
        try:
            assert (await database.run("retention", target=plain)).rows == 1
        finally:
            await database.execute("grant execute on function pg_control_system() to public")
    assert {path.relative_to(shelf).parts[0] for path in objects(shelf)} >= {"127%2E0%2E0%2E1"}
    document = await database.cli_json("archives")
    assert [len(document["archives"]), document["others"]] == [1, [f"127%2E0%2E0%2E1/{database.name}"]]
    assert (await restored(database, run.id + 1, "--origin", document["others"][0]))[0]["inserted"] == 1


async def test_the_demo_fleet_comes_back_byte_for_byte(fleet: Database, shelf: Path) -> None:
    text = (ROOT / "maintenance.toml").read_text(encoding="utf-8")
    archived = re.sub(r"^(table|tables) = ", f'archive = "{shelf.as_uri()}"\n\\1 = ', text, flags=re.MULTILINE)
    # A count that is corrected is a change of a row that stays, and no deletion.
    vacuum = archived.index("[vacuum]")
    policy = archived[:vacuum].replace('count_column = "device_count"', "") + text[text.index("[vacuum]") :]
    tables = await fleet.values(
        "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'"
    )
    before = {table: await contents(fleet, f'"{table}"') for table in tables}
    fleet.write_policy(policy, guarded=True)
    run = await fleet.run("daily-cleanup")
    assert run.status is RunStatus.SUCCEEDED
    deleted = {step.task for step in run.steps if step.rows}
    assert deleted == {"retention", "duplicates", "orphans", "unreferenced"}
    back = await restored(fleet, run.id)
    assert (sum(one["rows"] for one in back), {one["present"] for one in back}) == (run.rows, {0})
    assert {table: await contents(fleet, f'"{table}"') for table in tables} == before
    assert sum(one["inserted"] for one in await restored(fleet, run.id)) == 0


async def test_a_manifest_names_the_key_and_not_what_its_index_includes(database: Database, shelf: Path) -> None:
    await filled(database, 3)
    await database.execute("alter table log drop constraint log_pkey, add primary key (id) include (note)")
    await database.run("retention", policy=rule(shelf))
    told = json.loads(manifests(shelf)[0].read_text(encoding="utf-8"))
    assert (told["key"], told["last_key"]) == (["id"], ["3"])


async def test_a_condition_means_the_same_with_an_archive_whatever_the_server_takes_for_a_string(
    database: Database, shelf: Path
) -> None:
    await database.execute(
        "create table log (id int, at timestamptz, note text);"
        "insert into log values (1, '2020-01-01', 'a\\'), (2, '2020-01-01', '$1'), (3, '2020-01-01', ''' $1')"
    )
    await database.execute(f"alter database {database.name} set standard_conforming_strings = off")
    try:
        where = "where = '''note not in ('a\\', ' or $1', '\\'' $1')'''\n"
        run = await database.run("retention", policy=rule(shelf) + where)
        assert (run.status, run.rows) == (RunStatus.SUCCEEDED, 2), run.error
        assert await database.values("select id from log") == [1]
    finally:
        await database.execute(f"alter database {database.name} reset standard_conforming_strings")
