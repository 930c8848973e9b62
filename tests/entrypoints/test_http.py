"""The HTTP functions: what callers get, what is refused and touches nothing, who may, and the switch."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator

import pytest

from maintenance import trigger
from maintenance.errors import PolicyError
from tests.databases import Database, connect
from tests.gateway import Gateway, gateway

POLICY = '[[retention]]\ntable = "log"\ncolumn = "created_at"\nkeep = "30 days"\n'
SCHEMA = """
create table log (id int primary key, created_at timestamptz);
insert into log select n, now() + interval '1 hour' - n * interval '1 day' from generate_series(1, 100) n;
"""
ALICE = "11111111-2222-3333-4444-555555555555"
ROBOT = "99999999-8888-7777-6666-555555555555"


@pytest.fixture
async def shelf(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """70 of 100 log entries are expired; the environment is that of an app of this database."""
    await database.execute(SCHEMA)
    database.write_policy(POLICY)
    for name, value in {**database.environment, "AzureWebJobsStorage": "UseDevelopmentStorage=true"}.items():
        monkeypatch.setenv(name, value)
    return database


@pytest.fixture
async def app(shelf: Database) -> AsyncIterator[Gateway]:
    async with gateway() as opened:
        yield opened


async def untouched(shelf: Database) -> bool:
    schemas = await shelf.values("select 1 from pg_namespace where nspname = 'maintenance'")
    return await shelf.values("select count(*) from log") == [100] and not schemas


async def test_a_run_is_accepted_queued_and_shown(app: Gateway, shelf: Database) -> None:
    status, headers, document = await app.call("POST", "/runs", {"name": "retention", "budget": "1m"})
    assert (status, document["status"], document["budget"]) == (202, "queued", 60)
    assert headers["Location"] == f"/api/maintenance/runs/{document['id']}"
    (message,) = app.sent
    assert await trigger.received(message.encode()) == []
    status, _, shown = await app.call("GET", f"/runs/{document['id']}")
    assert (status, shown["status"], shown["rows"], shown["slices"]) == (200, "succeeded", 70, 1)
    _, _, listed = await app.call("GET", "/runs?limit=1")
    assert [(run["id"], run["scheduler"]) for run in listed["runs"]] == [(document["id"], "http")]
    assert await trigger.received(message.encode()) == []
    assert await shelf.values("select count(*) from maintenance.run") == [1]


async def test_a_dry_run_is_the_plan_and_touches_nothing(app: Gateway, shelf: Database) -> None:
    status, _, plan = await app.call("POST", "/runs", {"name": "daily-cleanup", "tables": ["log"], "dry_run": True})
    assert (status, plan["steps"][0]["rows"]) == (200, 70)
    assert app.sent == []
    assert await untouched(shelf)


async def test_the_budget_of_a_request_bounds_all_its_slices(
    app: Gateway, shelf: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAINTENANCE_BUDGET", "200ms")
    await shelf.execute(
        "create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(1); return old; end $$;"
        "create trigger slow before delete on log for each row execute function slow()"
    )
    _, _, document = await app.call("POST", "/runs", {"name": "retention", "budget": "250ms"})
    assert await trigger.received(app.sent[0].encode()) == []
    _, _, shown = await app.call("GET", f"/runs/{document['id']}")
    assert (shown["status"], shown["stop_reason"]) == ("interrupted", "budget")


WRONG = ('{"name": 1}', '{"name": ""}', '{"name": "x"}', '{"name": NaN}', '{"name": "retention\\u0000"}')
WRONG_FIELDS = (
    '"dry_run": "yes"', '"dry_run": 1', '"budget": "8"', '"budget": 8', '"tables": "log"', '"tables": []',
    '"tables": ["lgo"]', '"tables": ["log; drop table log"]', '"target": "north"', '"extra": 1',
    '"dry_run": true, "tables": ["lgo"]',
)  # fmt: skip
BAD_BODIES: list[tuple[bytes, int]] = [
    *((text, 400) for text in (b"", b"{", b"\xff", b"[" * 15_000, b'{"name": "\\ud800"}')),
    *((text, 422) for text in (b"[]", b"null", b"{}")),
    *((text.encode(), 422) for text in WRONG),
    *((f'{{"name": "retention", {field}}}'.encode(), 422) for field in WRONG_FIELDS),
    (b'{"name": "' + b"x" * 20_000 + b'"}', 413),
]


@pytest.mark.parametrize(("body", "status"), BAD_BODIES)
async def test_a_body_that_is_none_of_ours_is_a_problem_and_touches_nothing(
    app: Gateway, shelf: Database, body: bytes, status: int
) -> None:
    answered, headers, problem = await app.call("POST", "/runs", body)
    assert answered == status, problem
    assert headers["Content-Type"] == "application/problem+json"
    assert (problem["type"], problem["status"]) == ("about:blank", status)
    assert set(problem) == {"type", "title", "status", "detail"}
    assert app.sent == []
    assert await untouched(shelf)


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/x-www-form-urlencoded", ""])
async def test_another_content_type_is_refused(app: Gateway, shelf: Database, kind: str) -> None:
    status, _, problem = await app.call("POST", "/runs", b'{"name": "retention"}', Content_Type=kind)
    assert status == 415
    assert "application/json" in problem["detail"]
    assert await untouched(shelf)


@pytest.mark.parametrize(
    ("path", "status"),
    [("/runs?limit=0", 400), ("/runs?limit=x", 400), ("/runs?limit=201", 400), ("/runs?x=1", 400), ("/runs/0", 404),
     ("/runs/x", 404), ("/runs/99", 404), ("/runs/99999999999999999999", 404), ("/runs/-1", 404), ("/runs/²", 404),
     ("/runs?target=north", 422), ("/health?x=1", 400), ("/report?x=1", 400), ("/report?target=north", 422)],
)  # fmt: skip
async def test_a_wrong_path_or_parameter_is_a_problem(app: Gateway, path: str, status: int) -> None:
    answered, headers, problem = await app.call("GET", path)
    assert (answered, headers["Content-Type"]) == (status, "application/problem+json")
    assert problem["detail"]


async def test_the_report_is_a_page_that_allows_nothing_from_outside(app: Gateway, shelf: Database) -> None:
    run = await shelf.run("retention")
    status, headers, page = await app.call("GET", "/report")
    assert (status, headers["Content-Type"].partition(";")[0]) == (200, "text/html")
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert (headers["Referrer-Policy"], headers["Cache-Control"]) == ("no-referrer", "no-store")
    assert page.startswith("<!doctype html>")
    assert f"Run {run.id} retention" in page


async def test_the_report_of_a_database_that_no_run_has_seen_makes_nothing(app: Gateway, shelf: Database) -> None:
    status, _, page = await app.call("GET", "/report")
    assert status == 200
    assert "Nothing has run yet" in page
    assert await untouched(shelf)


async def test_a_function_key_in_the_query_is_the_hosts_business(app: Gateway) -> None:
    assert (await app.call("GET", "/health?code=abc&clientId=default"))[0] == 200


async def test_paused_no_run_begins_and_resumed_they_do(app: Gateway, shelf: Database) -> None:
    status, _, document = await app.call("POST", "/pause", {"reason": "migration"})
    assert (status, document["paused"], document["reason"]) == (200, True, "migration")
    status, _, problem = await app.call("POST", "/runs", {"name": "retention"})
    assert status == 409
    assert "migration" in problem["detail"]
    run = await shelf.run("retention")
    assert (run.status, run.stop_reason, run.rows) == ("interrupted", "paused", 0)
    assert (await app.call("GET", "/health"))[2]["targets"][0]["paused"] is True
    assert (await app.call("POST", "/resume"))[2] == {"paused": False}
    assert (await shelf.run("retention")).rows == 70


async def test_health_tells_of_the_ledger_the_last_run_and_a_database_that_is_gone(
    app: Gateway, shelf: Database
) -> None:
    status, _, document = await app.call("GET", "/health")
    assert (status, document["status"]) == (200, "ok")
    empty = {"target": None, "reachable": True, "error": None, "ledger": False, "paused": False, "last_run": None}
    assert document["targets"] == [empty]
    run = await shelf.run("retention")
    _, _, document = await app.call("GET", "/health")
    assert (document["targets"][0]["last_run"]["id"], document["targets"][0]["ledger"]) == (run.id, True)
    administrator = await connect(shelf.server, "postgres")
    try:
        await administrator.execute(f'alter database "{shelf.name}" allow_connections false')
        status, _, document = await app.call("GET", "/health")
        assert (status, document["status"], document["targets"][0]["reachable"]) == (503, "unhealthy", False)
        assert (await app.call("GET", "/runs"))[0] == 503
        assert (await app.call("POST", "/runs", {"name": "retention"}))[0] == 503
    finally:
        await administrator.execute(f'alter database "{shelf.name}" allow_connections true')
        await administrator.close()


async def test_without_a_queue_no_run_is_promised(
    app: Gateway, shelf: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AzureWebJobsStorage")
    status, headers, problem = await app.call("POST", "/runs", {"name": "retention"})
    assert (status, "AzureWebJobsStorage" in problem["detail"]) == (503, True)
    assert "Retry-After" in headers
    assert await untouched(shelf)


async def test_a_broken_policy_is_the_apps_fault_and_said_so(app: Gateway, shelf: Database) -> None:
    shelf.write_policy("nonsense")
    status, _, problem = await app.call("POST", "/runs", {"name": "retention"})
    assert (status, "policy" in problem["detail"]) == (500, True)
    assert await untouched(shelf)


def principal(id_: str, name: str = "alice@example.org", claim: str = "oid") -> dict[str, str]:
    """The headers that App Service Authentication writes."""
    claims = [{"typ": claim, "val": id_}, {"typ": "name", "val": name}]
    told = json.dumps({"auth_typ": "aad", "claims": claims, "name_typ": "name", "role_typ": "roles"})
    return {"X_MS_CLIENT_PRINCIPAL": base64.b64encode(told.encode()).decode()}


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINTENANCE_HTTP_ALLOWED_PRINCIPALS", f" {ALICE.upper()},{ROBOT} ")
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "True")


@pytest.mark.usefixtures("closed")
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"X_MS_CLIENT_PRINCIPAL": "!"}, 401),
        ({"X_MS_CLIENT_PRINCIPAL": base64.b64encode(b"[" * 5000).decode()}, 401),
        ({"X_MS_CLIENT_PRINCIPAL": base64.b64encode(b'{"claims": [1]}').decode()}, 401),
        (principal("00000000-0000-0000-0000-000000000000"), 403),
        (principal(ALICE, claim="sub"), 401),
        ({"X_MS_CLIENT_PRINCIPAL_ID": "somebody"}, 403),
        ({"X_MS_CLIENT_PRINCIPAL_NAME": ALICE}, 401),
    ],
)
async def test_only_named_principals_are_admitted(
    app: Gateway, shelf: Database, headers: dict[str, str], status: int
) -> None:
    for method, path, body in (
        ("POST", "/runs", {"name": "retention"}),
        ("GET", "/runs", None),
        ("GET", "/health", None),
        ("GET", "/report", None),
    ):
        answered, _, problem = await app.call(method, path, body, **headers)
        assert (answered, "MAINTENANCE_HTTP_ALLOWED_PRINCIPALS" in problem["detail"] or answered == 401) == (
            status,
            True,
        )
    assert await untouched(shelf)


@pytest.mark.usefixtures("closed")
@pytest.mark.parametrize(
    ("headers", "who"),
    [
        (principal(ALICE), f"alice@example.org ({ALICE})"),
        (principal(ROBOT, "robot\n\u202e", "appid"), f"robot ({ROBOT})"),
        ({"X_MS_CLIENT_PRINCIPAL_ID": ROBOT.upper()}, ROBOT),
    ],
)
async def test_who_asked_is_in_the_ledger(app: Gateway, headers: dict[str, str], who: str) -> None:
    status, _, document = await app.call("POST", "/runs", {"name": "retention"}, **headers)
    assert (status, document["requested_by"]) == (202, who)
    _, _, paused = await app.call("POST", "/pause", {}, **headers)
    assert paused["paused_by"] == who


async def test_a_header_is_not_believed_where_nobody_vouches_for_it(app: Gateway) -> None:
    _, _, document = await app.call("POST", "/runs", {"name": "retention"}, **principal(ALICE))
    assert document["requested_by"] is None


@pytest.mark.parametrize("switch", ["False", ""])
async def test_authentication_that_is_off_admits_nobody_by_a_list(
    app: Gateway, monkeypatch: pytest.MonkeyPatch, switch: str
) -> None:
    monkeypatch.setenv("MAINTENANCE_HTTP_ALLOWED_PRINCIPALS", ALICE)
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", switch)
    status, _, problem = await app.call("GET", "/runs", **principal(ALICE))
    assert (status, "App Service Authentication" in problem["detail"]) == (500, True)


async def test_a_message_for_a_run_raises_what_keeps_it_from_running(app: Gateway, shelf: Database) -> None:
    await app.call("POST", "/runs", {"name": "retention"})
    shelf.write_policy("nonsense")
    with pytest.raises(PolicyError):
        await trigger.received(app.sent[0].encode())
    assert await shelf.values("select status from maintenance.run") == ["queued"]
