"""Archives in a folder: every row is stored and read back before it goes, and comes back as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from maintenance.models import RunStatus
from tests.databases import Database

RULE = '[[retention]]\ntable = "{table}"\ncolumn = "at"\nkeep = "30 days"\nallow_empty = true\narchive = "{where}"\n'
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
select timestamptz '2001-02-03 04:05:06.789012+03' + n * interval '1.000001 second', 32767, 'NaN', -0.5, 0.1::float8 + 0.2,
    1e-30, true, E'tab\\t newline\\n return\\r backslash\\\\ quote'' "double" \\\\N \\b\\f\\v ünï 漢字 🐘' || n, 'abc', 'ä',
    '\\x00ff0a0d5c09'::bytea || convert_to(n::text, 'UTF8'), '{"b": 1,  "a": [1, null], "b": 2}', '{"b": 1, "a": [1.10, "\\n"]}',
    'häppy', '{sad,NULL,häppy}', '{1,NULL,-3}', array['', 'NULL', null, 'a,b', '{x}', E'back\\\\slash', ' '],
    '[2:3][0:1]={{1,2},{3,4}}', 'infinity', '23:59:59.999999', '12:00:00+05:30', '-infinity', '1 year -2 mons 3 days -04:05:06.7',
    '00000000-0000-0000-0000-00000000000a', '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03', '10101', '1', '[1,5)',
    '{[2001-01-01 00:00+00,2002-01-01 00:00+00)}', '(1.5,-0)', 'a:1 b:2', 12.34, row(1, null), 'x', 4294967295, 'z', '9'
from generate_series(1, 50) n;
insert into kinds (at) values ('-infinity'), ('1900-01-01 00:00:00.000001+00');
insert into kinds (at, text) values (now(), 'stays');
"""


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    folder = tmp_path / "an archive ü"
    folder.mkdir()
    return folder


async def contents(database: Database, table: str) -> list[str]:
    """Every row as text, which has each value byte for byte."""
    return await database.values(f"select t::text from {table} t order by 1")


async def restored(database: Database, run: int, *words: str) -> list[dict[str, Any]]:
    return list((await database.cli_json("restore", "--run", str(run), *words))["restored"])


async def test_every_type_comes_back_byte_for_byte_and_once(database: Database, shelf: Path) -> None:
    await database.execute(TYPES)
    before = await contents(database, "kinds")
    binary = await database.connection.fetch("select * from kinds order by id")
    run = await database.run("retention", policy=RULE.format(table="kinds", where=shelf.as_uri()))
    assert (run.status, run.rows, len(await contents(database, "kinds"))) == (RunStatus.SUCCEEDED, 52, 1)
    (one,) = await restored(database, run.id)
    assert (one["table"], one["rows"], one["inserted"], one["present"]) == ("public.kinds", 52, 52, 0)
    assert await contents(database, "kinds") == before
    assert await database.connection.fetch("select * from kinds order by id") == binary
    (again,) = await restored(database, run.id)
    assert (again["inserted"], again["present"]) == (0, 52)
    assert await contents(database, "kinds") == before
