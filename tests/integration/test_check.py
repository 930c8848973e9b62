"""`check` as a whole: nothing on a healthy database, all of it on a faulty one, bounded, and never silent."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import subprocess
import time
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import cast

from rich.console import Console

from maintenance import policy_file
from maintenance.check.examination import LOOKS, examined
from maintenance.check.kinds import KINDS, finding
from maintenance.check.thresholds import Thresholds
from maintenance.check.view import Look, View
from maintenance.checkup import show_examination
from maintenance.database import connected
from maintenance.findings import Finding, Severity
from tests.checks import OLD, POLICY, check, codes, keeper, make, only
from tests.databases import Database, connect
from tests.sessions import locked, role

FAULTY = '''
drop index event_at;
alter table item drop constraint item_device_fkey, drop constraint item_device_key;
create index "Item ""Device""" on item (device);
create index item_device_at on item (device, at);
insert into item values (11, 1, now()), (12, 99, now());
alter table event set (autovacuum_enabled = off);
'''


async def test_nothing_is_found_on_a_healthy_database_and_everything_was_looked_at(database: Database) -> None:
    await make(database)
    async with keeper(database) as target:
        examination = await check(database, target=target)
    assert codes(examination) == []
    assert examination.looks == tuple(one.name for one in LOOKS)


async def test_an_empty_database_with_an_empty_policy_lacks_its_ledger_and_no_more(database: Database) -> None:
    assert codes(await check(database, policy="")) == ["ledger.missing", "policy.empty", "role.mighty"]


async def test_the_demo_fleet_gets_nothing_but_advice_once_it_is_maintained(fleet: Database) -> None:
    before = await check(fleet)
    assert [code for code in codes(before) if KINDS[code].severity is not Severity.ADVICE] == ["ledger.missing"]
    for names in ("daily-cleanup", "weekly-vacuum"):
        await fleet.run(names)
    after = await check(fleet)
    assert set(codes(after)) == {
        "foreign_key.missing", "index.redundant", "policy.absent", "role.mighty", "unique.missing",
    }  # fmt: skip
    missing = [one.subject for one in after.findings if one.code == "unique.missing"]
    assert missing == [
        f"public.{name}" for name in
        ("applications", "displays", "hardware", "installs", "inventory", "network", "profiles", "security")
    ]  # fmt: skip
    assert all("in the last 30 days" in one.fact for one in after.findings if one.code == "unique.missing")


async def test_the_command_line_exits_1_on_errors_and_0_on_less(database: Database) -> None:
    await make(database)
    document = await database.cli_json("check")
    assert [one["code"] for one in document["findings"] if one["code"] not in OLD] == ["role.mighty"]
    assert (document["database"], document["unseen"]) == (database.name, [])
    await database.execute("create rule keep as on delete to event do instead nothing")
    document = await database.cli_json("check", exit_code=1)
    assert [(one["severity"], one["code"]) for one in document["findings"]][:1] == [("error", "delete.blocked")]
    assert set(document["findings"][0]) == {
        "severity", "code", "subject", "fact", "consequence", "remedy", "cure", "risky",
    }  # fmt: skip


async def test_a_policy_or_a_script_that_cannot_be_used_is_wrong_use(database: Database) -> None:
    database.write_policy("[[retention]]\n")
    assert (await database.cli("check")).returncode == 2
    database.write_policy("")
    done = await database.cli("check", "--fix-script", "no/such/folder/fix.sql")
    assert done.returncode == 2
    assert "--fix-script" in done.stderr


async def test_a_login_that_fails_is_a_finding(database: Database) -> None:
    database.write_policy("")
    done = await database.cli("check", PGUSER="nobody")
    assert done.returncode == 1
    assert done.stdout.startswith("error   connection.refused ")
    assert 'password authentication failed for user "nobody"' in done.stdout
    assert "Traceback" not in done.stderr
    document = await database.cli_json("check", exit_code=1, PGUSER="nobody")
    assert document["as_of"] is None
    assert document["unseen"]


async def test_each_finding_is_one_line_where_a_program_reads_it(database: Database) -> None:
    await make(database)
    await database.execute(FAULTY)
    document = await database.cli_json("check")
    *lines, summary = (await database.cli("check")).stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [[one["severity"], one["code"]] for one in document["findings"]]
    assert re.fullmatch(rf"Check of {database.name}: 0 errors, \d+ warnings?, \d+ advice\.", summary)
    assert "\x1b" not in "".join(lines)
    (unique,) = [line for line in lines if "unique.missing" in line]
    assert "nothing left to do (Fails until the rows are gone that break the rule: python -m maintenance run" in unique
    assert ': create unique index concurrently "item_device_key" on "public"."item" ("device"); alter table' in unique


async def test_lines_are_wrapped_at_the_width_of_a_terminal(database: Database) -> None:
    await make(database)
    await database.execute(FAULTY)
    text = await asyncio.to_thread(on_terminal, database, 80)
    assert "\x1b[" in text
    plain = re.sub(r"\x1b\[[\d;]*m", "", text).replace("\r", "")
    lines = plain.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(re.match(r"error|warning|advice|unseen|    \S|Check of ", line) for line in lines if line), plain
    assert "foreign key" in " ".join(plain.split())


def on_terminal(database: Database, width: int) -> str:
    ours, theirs = pty.openpty()
    environment = {**database.environment, "COLUMNS": str(width), "TERM": "xterm"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        database.command("check"), env=environment, cwd=database.folder, stdout=theirs, stdin=subprocess.DEVNULL
    )
    os.close(theirs)
    read = b""
    try:
        while chunk := os.read(ours, 65536):
            read += chunk
    except OSError:
        pass
    finally:
        os.close(ours)
    process.wait(60)
    return read.decode()


async def test_the_script_cures_what_it_has_a_statement_for(database: Database, tmp_path: Path) -> None:
    await make(database)
    await database.execute(FAULTY)
    first = await check(database)
    assert {
        "unique.missing", "foreign_key.missing", "index.redundant", "autovacuum.table_off",
    } <= set(codes(first))  # fmt: skip
    script = tmp_path / "fix.sql"
    assert (await database.cli("check", "--fix-script", str(script))).returncode == 0
    assert "python -m maintenance run orphans --tables public.item" in script.read_text("utf-8")
    await database.run("daily-cleanup")
    done = await asyncio.to_thread(psql, database, script)
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr
    assert codes(await check(database)) == ["role.mighty"]
    assert await database.values("select conname::text from pg_constraint where conrelid = 'item'::regclass"
                                 " and contype in ('f', 'u') and convalidated order by 1") == [
        "item_device_fkey", "item_device_key",
    ]  # fmt: skip


def psql(database: Database, script: Path, stop: str = "1") -> subprocess.CompletedProcess[str]:
    programs = database.server.bin_directory / "psql"
    command = [programs if programs.is_file() else "psql", "-X", "-v", f"ON_ERROR_STOP={stop}", "-f", script]
    environment = {**os.environ, **database.server.environment(database.name)}
    return subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=60)


async def test_a_script_of_nothing_is_comments_alone(database: Database, tmp_path: Path) -> None:
    await make(database)
    script = tmp_path / "fix.sql"
    await database.cli("check", "--fix-script", str(script))
    assert all(line.startswith("--") or not line for line in script.read_text("utf-8").splitlines())


async def test_what_takes_something_away_is_left_to_the_reader(database: Database, tmp_path: Path) -> None:
    await make(database)
    await database.execute('create rule "a; drop table event --" as on delete to event do instead nothing')
    script = tmp_path / "fix.sql"
    await database.cli("check", "--fix-script", str(script))
    lines = script.read_text("utf-8").splitlines()
    assert '-- drop rule "a; drop table event --" on "public"."event";' in lines
    assert [line for line in lines if line and not line.startswith("--")] == ["set lock_timeout = '5s';"]


async def test_a_script_keeps_nobody_waiting_for_long_and_waits_itself_where_that_keeps_nobody(
    database: Database, tmp_path: Path
) -> None:
    await make(database)
    await database.execute("alter table item drop constraint item_device_key; create table t (x int)")
    await database.execute("create index a on t (x); create index b on t (x)")
    script = tmp_path / "fix.sql"
    await database.cli("check", "--fix-script", str(script))
    reader, writer = [await connect(database.server, database.name) for _ in range(2)]
    try:
        await reader.execute("begin; select from item")
        await writer.execute("begin; insert into item values (99, null, now()); select from t")
        done = asyncio.create_task(asyncio.to_thread(psql, database, script, "0"))
        # Longer than a statement waits that keeps others waiting.
        await asyncio.sleep(7)
        await writer.execute("commit")
        said = (await done).stderr
    finally:
        await reader.close()
        await writer.close()
    assert said.count("lock timeout") == said.count("ERROR") == 1, said
    assert await database.values("select indexrelid::regclass::text from pg_index where not indisvalid") == []
    assert await database.values("select to_regclass('item_device_key')::text") == ["item_device_key"]
    assert await database.values("select to_regclass('b')::text") == [None]
    assert await database.values("select conname from pg_constraint where conname = 'item_device_key'") == []


async def test_a_name_cannot_tell_the_terminal_what_to_do(database: Database, tmp_path: Path) -> None:
    await make(database)
    await database.execute(
        'create table "x\x1b[2J\x07\u202e" (a int); create index on "x\x1b[2J\x07\u202e" (a);'
        'create index on "x\x1b[2J\x07\u202e" (a)'
    )
    script = tmp_path / "fix.sql"
    lines = (await database.cli("check", "--fix-script", str(script))).stdout.splitlines()
    assert all(line.isprintable() for line in lines)
    assert "advice  index.redundant x [2J : " in "\n".join(lines)
    comments = [line for line in script.read_text("utf-8").splitlines() if line.startswith("--")]
    assert all(line.isprintable() for line in comments)
    assert (await asyncio.to_thread(psql, database, script)).returncode == 0


async def test_a_look_that_takes_too_long_is_said_and_stops_no_other(database: Database) -> None:
    await make(database)
    async with locked(database, "event"):
        began = time.monotonic()
        examination = await check(database, look=1.0)
        assert time.monotonic() - began < 1.5 * len(LOOKS)
    assert any(one.look == "schema" for one in examination.unseen), examination.unseen
    assert {"server", "access", "runs", "horizon", "indexes"} <= set(examination.looks)


async def test_a_budget_that_is_used_up_is_said(database: Database) -> None:
    await make(database)
    examination = await check(database, budget=0.01)
    assert examination.looks == ()
    assert {one.look for one in examination.unseen} == {one.name for one in LOOKS}
    assert all("used up" in one.why for one in examination.unseen)
    # Nobody knows whether it is well, so it must not look as if it were.
    assert (examination.findings, examination.failed) == ((), True)
    console = Console(file=StringIO(), width=200)
    show_examination(console, examination)
    assert "nothing was looked at, so nobody knows how it is" in cast("StringIO", console.file).getvalue()


async def test_what_a_look_had_found_when_its_time_was_over_is_told(database: Database) -> None:
    await make(database)

    async def dawdle(view: View) -> list[Finding]:
        view.found.append(finding("delete.triggers", "event", "something"))
        await view.connection.execute("select pg_sleep(60)")
        return []

    slow = Look(name="slow", what="what takes its time", find=dawdle)
    settings = database.settings
    async with connected(settings, name="test", read_only=True) as connection:
        policy = policy_file.load(settings.policy)
        examination = await examined(connection, policy, settings, Thresholds(look=0.3), (slow,))
    assert [one.code for one in examination.findings] == ["delete.triggers"]
    assert [one.what for one in examination.unseen] == ["the rest of what takes its time"]


async def test_a_policy_that_does_not_fit_is_told_though_the_look_at_it_is_never_done(database: Database) -> None:
    await make(database)
    many = 800
    await database.execute(
        f"do $$ begin for n in 1..{many} loop"
        " execute format('create table t%s (id int primary key, device int, at timestamptz)', n); end loop; end $$"
    )
    tables = ", ".join(f'"t{n}"' for n in range(1, many + 1))
    misfit = '[[retention]]\ntable = "event"\ncolumn = "gone"\nkeep = "1 day"\n'
    orphans = f'[[orphans]]\ntables = [{tables}]\ncolumn = "device"\nparent = "device"\nparent_column = "id"\n'
    examination = await check(database, policy=misfit + orphans, look=0.5)
    assert {"schema", "constraints"} <= {one.look for one in examination.unseen}
    assert only(examination, "policy.misfit").subject == "retention event"
    assert "foreign_key.missing" in {one.code for one in examination.findings}
    assert examination.failed


async def test_a_role_without_any_privilege_gets_findings_and_no_traceback(database: Database) -> None:
    await make(database)
    await database.execute(
        f"revoke all on schema public from public; revoke connect on database {database.name} from public"
    )
    async with role(database, "grant connect on database {database} to {role}") as target:
        examination = await check(database, target=target)
        done = await database.cli("check", "--json", PGUSER=str(target.user), PGPASSWORD="plain")
    assert done.returncode == 1
    assert json.loads(done.stdout)["findings"]
    found = {one.code for one in examination.findings}
    assert {"privilege.missing", "ledger.forbidden"} <= found
    assert "connection.lost" not in found
    assert {one.look for one in examination.unseen} >= {"horizon"}
    async with role(database) as target:
        refused = await check(database, target=target)
    assert "GRANT CONNECT" in only(refused, "connection.refused").fact


async def test_names_of_every_kind_are_quoted_in_what_cures(database: Database, tmp_path: Path) -> None:
    await database.execute('''
        create schema "My Schema"; create table "My Schema"."Der ""Elternteil""" ("I d" int primary key);
        create table "My Schema"."Kind; --" ("Eltern ""Id""" int, "Wann" timestamptz, id int primary key);
        insert into "My Schema"."Der ""Elternteil""" values (1);
        insert into "My Schema"."Kind; --" values (1, now(), 1);
        create table "My Schema"."Kind" ("Eltern Id" int, "Wann" timestamptz, id int primary key);
        alter table "My Schema"."Kind" set (autovacuum_enabled = off);
        alter table "My Schema"."Kind; --" set (autovacuum_enabled = off);
        create table "My Schema"."Eltern" ("I d" int primary key);
    ''')
    database.write_policy("""
        [[duplicates]]
        tables = ['My Schema.Kind']
        key = ['Eltern Id']
        newest = ['Wann']
        [[orphans]]
        tables = ['My Schema.Kind']
        column = 'Eltern Id'
        parent = 'My Schema.Eltern'
        parent_column = 'I d'
    """)
    await database.run("daily-cleanup")
    await database.run("weekly-vacuum")
    script = tmp_path / "fix.sql"
    await database.cli("check", "--fix-script", str(script))
    done = await asyncio.to_thread(psql, database, script)
    assert done.returncode == 0, done.stderr
    assert codes(await check(database)) == ["role.mighty"]


async def test_two_thousand_tables_are_looked_at_in_time_and_told_in_few_lines(database: Database) -> None:
    await database.execute("""
        do $$ begin
            for n in 1..2000 loop
                execute format('create table t%s (id int primary key, device int, at timestamptz)', n);
                execute format('create index on t%s (device)', n);
                execute format('create index on t%s (device, at)', n);
                execute format('alter table t%s set (autovacuum_enabled = off)', n);
                if n % 500 = 0 then commit; end if;
            end loop;
        end $$
    """)
    database.write_policy(POLICY)
    began = time.monotonic()
    document = await database.cli_json("check", exit_code=1)
    assert time.monotonic() - began < 60
    found = [one["code"] for one in document["findings"]]
    assert (found.count("index.redundant"), found.count("autovacuum.table_off")) == (2000, 2000)
    assert document["unseen"] == []
    lines = (await database.cli("check")).stdout.splitlines()
    assert len(lines) < 30
    assert "advice  index.redundant and 1,995 more; --json has all of them" in lines
    await database.execute(
        "do $$ begin for n in 1..2000 loop execute format('drop table t%s', n);"
        " if n % 500 = 0 then commit; end if; end loop; end $$"
    )


async def test_settings_without_a_database_are_wrong_use(database: Database) -> None:
    database.write_policy("")
    environment = {name: value for name, value in database.environment.items() if not name.startswith("PG")}
    done = await asyncio.to_thread(
        subprocess.run, database.command("check"), env=environment, cwd=database.folder, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "PGHOST" in done.stderr


async def test_another_target_without_a_host_is_no_reason_to_fail(database: Database) -> None:
    await make(database)
    settings = replace(database.settings.required_target(), port=1)
    assert only(await check(database, target=settings), "connection.refused").severity is Severity.ERROR


async def test_a_session_that_ends_in_the_middle_is_an_error_and_leaves_the_rest_unseen(database: Database) -> None:
    await make(database)

    async def die(view: View) -> list[Finding]:
        await view.connection.execute("select pg_terminate_backend(pg_backend_pid())")
        return []

    killer = Look(name="killer", what="what kills it", find=die)
    settings = database.settings
    async with connected(settings, name="test", read_only=True) as connection:
        policy = policy_file.load(settings.policy)
        examination = await examined(connection, policy, settings, looks=(LOOKS[0], killer, *LOOKS[1:]))
    assert only(examination, "connection.lost").severity is Severity.ERROR
    assert examination.looks == (LOOKS[0].name,)
    assert [one.look for one in examination.unseen] == ["killer", *(one.name for one in LOOKS[1:])]


async def test_a_look_of_many_short_statements_is_bounded_too(database: Database) -> None:
    await make(database)

    async def dawdle(view: View) -> list[Finding]:
        while True:
            await view.connection.execute("select pg_sleep(0.1)")

    slow = Look(name="slow", what="what takes its time", find=dawdle)
    settings = database.settings
    async with connected(settings, name="test", read_only=True) as connection:
        policy = policy_file.load(settings.policy)
        began = time.monotonic()
        examination = await examined(connection, policy, settings, Thresholds(look=0.3), (slow, *LOOKS[:2]))
    assert time.monotonic() - began < 5
    assert [one.look for one in examination.unseen] == ["slow"]
    assert examination.looks == tuple(one.name for one in LOOKS[:2])


async def test_a_look_that_the_server_refuses_is_said_with_its_reason(database: Database) -> None:
    await make(database)

    async def write(view: View) -> list[Finding]:
        await view.connection.execute("delete from event")
        return []

    wrong = Look(name="wrong", what="what is not allowed", find=write)
    settings = database.settings
    async with connected(settings, name="test", read_only=True) as connection:
        examination = await examined(connection, policy_file.load(settings.policy), settings, looks=(wrong, LOOKS[0]))
    (unseen,) = examination.unseen
    assert "read-only transaction [25006]" in unseen.why
    assert examination.looks == (LOOKS[0].name,)
