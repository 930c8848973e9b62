"""Telemetry of the real command line, as collectors on loopback receive it."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from maintenance.telemetry.instruments import METRICS
from tests.collector import KEY, Collector, insights, otlp, plain
from tests.databases import ROOT, Database, fresh
from tests.sessions import all_waiting, counted, locked

RULE = '[[retention]]\ntable = "log"\ncolumn = "created_at"\nkeep = "30 days"\n'
SCHEMA = """
create table log (id int primary key, created_at timestamptz);
insert into log select n, now() + interval '1 hour' - n * interval '1 day' from generate_series(1, 100) n;
"""
REFUSING = """
create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not this one'; end $$;
create trigger refuse before delete on log for each row execute function refuse();
"""
ERROR = 2
DATABASE = {"db.system.name", "db.namespace", "server.address", "server.port"}


@pytest.fixture
async def shelf(database: Database) -> Database:
    """70 of 100 log entries are expired."""
    await database.execute(SCHEMA)
    database.write_policy(RULE)
    return database


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with otlp() as running:
        yield running


def shape(text: str) -> str:
    """What is printed, without the times that differ and the widths that follow from them."""
    return " ".join(re.sub(r"[\d.]+ m?s\b", "s", text).replace("─", "").split())


def documented(chapter: str, column: int) -> dict[str, set[str]]:
    """The names in a column of a table of docs/telemetry.md, by its first column."""
    text = (ROOT / "docs/telemetry.md").read_text(encoding="utf-8").split(f"## {chapter}")[1].split("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {cells[0].strip("`"): set(re.findall(r"`([^`]+)`", cells[column])) for cells in lines}


async def test_a_run_reaches_an_otlp_collector_whole_and_the_terminal_shows_nothing_of_it(
    shelf: Database, collector: Collector
) -> None:
    done = await shelf.cli("run", "retention", **collector.environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Run 1 retention succeeded: 70 rows deleted." in done.stdout
    (run,) = collector.spans("maintenance.run")
    (step,) = collector.spans("maintenance.step")
    assert (step.trace_id, step.parent_span_id) == (run.trace_id, run.span_id)
    assert plain(run.attributes) == {
        "maintenance.run.id": 1, "maintenance.run.name": "retention", "maintenance.run.scheduler": "cli",
        "maintenance.run.slice": 1, "maintenance.status": "succeeded", "maintenance.stop_reason": "done",
        "maintenance.rows": 70, "db.system.name": "postgresql", "db.namespace": shelf.name,
        "server.address": shelf.server.host, "server.port": shelf.server.port,
    }  # fmt: skip
    about = plain(step.attributes)
    assert (about["maintenance.table"], about["maintenance.rows"], about["maintenance.batches"]) == (
        "public.log",
        70,
        1,
    )
    assert run.start_time_unix_nano <= step.start_time_unix_nano < step.end_time_unix_nano <= run.end_time_unix_nano
    assert collector.values("maintenance.rows", "task", "table", "operation") == {
        ("retention", "public.log", "delete"): 70
    }
    assert collector.values("maintenance.stops", "task", "stop_reason") == {("retention", "done"): 1}
    assert collector.values("maintenance.runs", "run.name", "status") == {("retention", "succeeded"): 1}
    assert collector.values("maintenance.retention.lag", "table") == {("public.log",): 0}
    assert collector.values("maintenance.batch.duration", "task") == {("retention",): 1}
    (size,) = collector.values("maintenance.database.size").values()
    assert size > 1_000_000
    assert [record.event_name for record in collector.logs] == ["run_began", "step_ended", "run_ended"]
    assert [record.span_id for record in collector.logs] == [run.span_id, step.span_id, run.span_id]
    assert {plain(record.attributes)["run_id"] for record in collector.logs} == {1}
    assert collector.logs[-1].body.string_value == "Run 1 retention succeeded: 70 rows deleted."
    assert {resource["service.name"] for resource in collector.resources} == {"postgresql-maintenance"}


async def test_steps_side_by_side_have_each_its_span_and_its_record(database: Database, collector: Collector) -> None:
    tables = [f"t{n}" for n in range(4)]
    for name in tables:
        await database.execute(f"create table {name} as select generate_series(1, 300) id")
    await counted(database)
    database.write_policy("[vacuum]\ninsert_rows = 0\ninsert_fraction = 0\njobs = 4\n")
    async with locked(database, ", ".join(tables), "share update exclusive") as holder:
        running = asyncio.create_task(database.cli("run", "vacuum", **collector.environment))
        await all_waiting(database, 4)
        await holder.execute("rollback")
        assert (await running).returncode == 0
    (run,) = collector.spans("maintenance.run")
    steps = collector.spans("maintenance.step")
    assert {step.parent_span_id for step in steps} == {run.span_id}
    assert max(step.start_time_unix_nano for step in steps) < min(step.end_time_unix_nano for step in steps)
    spans = {step.span_id: plain(step.attributes)["maintenance.table"] for step in steps}
    assert sorted(spans.values()) == [f"public.{name}" for name in tables]
    ended = [record for record in collector.logs if record.event_name == "step_ended"]
    assert {record.span_id: plain(record.attributes)["table"] for record in ended} == spans


async def test_all_that_arrives_is_in_the_document_and_the_other_way_round(
    shelf: Database, collector: Collector
) -> None:
    await shelf.cli("run", **collector.environment)
    await shelf.execute("insert into log values (200, '2020-01-01')")
    await shelf.execute(REFUSING)
    failed = await shelf.cli("run", **collector.environment)
    assert (failed.returncode, failed.stderr) == (1, "")
    shelf.write_policy(RULE.replace("30 days", "soon"))
    broken = await shelf.cli("run", **collector.environment)
    assert broken.returncode == 2
    spans = collector.spans("maintenance.run")
    assert [span.status.code for span in spans] == [0, ERROR, ERROR]
    assert "not this one" in spans[1].status.message
    assert plain(spans[2].attributes)["error.type"] == "PolicyError"
    assert "maintenance.run.id" not in plain(spans[2].attributes)
    (refused,) = [span for span in collector.spans("maintenance.step") if span.status.code == ERROR]
    assert plain(refused.attributes)["db.response.status_code"] == "P0001"
    for name, attributes in documented("Spans", 1).items():
        sent = set().union(*(plain(span.attributes) for span in collector.spans(name)))
        assert sent - DATABASE == attributes - ({"error.type"} if name == "maintenance.step" else set())
    metrics = {metric.name: metric for one in collector.points for r in one.resource_metrics
               for scope in r.scope_metrics for metric in scope.metrics}  # fmt: skip
    assert set(metrics) == {metric.name for metric in METRICS}
    for metric in METRICS:
        sent_metric = metrics[metric.name]
        assert sent_metric.unit == metric.unit
        assert sent_metric.WhichOneof("data") == ("sum" if metric.kind == "counter" else metric.kind)
        data: Any = getattr(sent_metric, sent_metric.WhichOneof("data") or "")
        for point in data.data_points:
            assert set(plain(point.attributes)) == {*metric.attributes, *DATABASE}
    fields: dict[str, set[str]] = {}
    for record in collector.logs:
        fields.setdefault(record.event_name, set()).update(plain(record.attributes))
    written = documented("Log records", 2)
    for name, seen in fields.items():
        # The run that broke off here had not begun, so it has no id.
        assert seen - {"event"} == written[name] - ({"run_id"} if name == "run_failed" else set())
    assert set(fields) == {event for event in written if event.startswith(("run_", "step_"))}


async def test_the_variables_of_opentelemetry_are_honoured_and_its_headers_shown_nowhere(
    shelf: Database, collector: Collector
) -> None:
    settings = {
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=very-hidden", "OTEL_SERVICE_NAME": "janitor",
        "OTEL_TRACES_SAMPLER": "always_off",
    }  # fmt: skip
    done = await shelf.cli("run", "--debug", **settings, **collector.environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert {headers["api-key"] for headers in collector.headers} == {"very-hidden"}
    assert {resource["service.name"] for resource in collector.resources} == {"janitor"}
    assert collector.traces == []
    assert "maintenance.rows" in collector.metrics
    assert "very-hidden" not in done.stdout + str(collector.records) + str(collector.points)


async def test_a_run_reaches_application_insights_once_also_beside_a_collector(
    shelf: Database, collector: Collector
) -> None:
    async with insights() as arrived:
        done = await shelf.cli("run", "retention", **arrived.environment, **collector.environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert KEY not in done.stdout
    assert sorted(span["name"] for span in arrived.data("RemoteDependencyData")) == [
        "maintenance.run",
        "maintenance.step",
    ]
    assert [m["properties"]["event"] for m in arrived.data("MessageData")] == ["run_began", "step_ended", "run_ended"]
    named = [metric["name"] for item in arrived.data("MetricData") for metric in item["metrics"]]
    assert {name for name in named if name.startswith("maintenance.")} == {metric.name for metric in METRICS}
    assert named.count("maintenance.runs") == 1
    assert {item["iKey"] for item in arrived.items} == {KEY}
    assert (len(collector.spans("maintenance.run")), len(collector.spans("maintenance.step"))) == (1, 1)
    assert collector.values("maintenance.runs", "status") == {("succeeded",): 1}
    assert len(collector.logs) == 3


async def test_a_collector_that_hangs_or_is_down_costs_a_run_five_seconds_and_nothing_else(
    shelf: Database, collector: Collector
) -> None:
    collector.delay = 60
    both = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "APPLICATIONINSIGHTS_CONNECTION_STRING": f"InstrumentationKey={KEY};IngestionEndpoint={collector.url}/",
        "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
        "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
    }

    async def timed(database: Database, **environment: str) -> tuple[float, int, str, str]:
        began = time.monotonic()
        done = await database.cli("run", "retention", **environment)
        return time.monotonic() - began, done.returncode, done.stderr, shape(done.stdout)

    async with (
        fresh(shelf.server, "shelf_2", shelf.folder) as other,
        fresh(shelf.server, "shelf_3", shelf.folder) as one,
    ):
        await other.execute(SCHEMA)
        await one.execute(SCHEMA)
        _, *result = await timed(one)
        (hung, *of_hung), (down, *of_down) = await asyncio.gather(
            timed(shelf, **both), timed(other, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
        )
    assert of_hung == of_down == result
    assert 4.5 < hung < 9
    assert 4.5 < down < 9


async def test_a_wrong_connection_string_is_told_in_a_line_without_it_and_the_run_is_done(shelf: Database) -> None:
    done = await shelf.cli("run", "retention", "--debug", APPLICATIONINSIGHTS_CONNECTION_STRING="Key=very-hidden")
    assert done.returncode == 0
    assert done.stderr.startswith("Telemetry cannot be set up (ValueError), so the run goes on without it;")
    assert done.stderr.count("\n") == 1
    assert "very-hidden" not in done.stdout + done.stderr
    assert await shelf.values("select count(*) from log") == [30]


@pytest.mark.parametrize("environment", [{}, {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}])
async def test_nothing_of_opentelemetry_is_imported_where_nothing_is_configured(
    shelf: Database, environment: dict[str, str]
) -> None:
    command = [sys.executable, "-X", "importtime", *shelf.command("run")[1:]]
    done = await asyncio.to_thread(
        subprocess.run, command, env=shelf.environment | environment, cwd=shelf.folder, capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "maintenance.engine" in done.stderr
    assert re.findall(r".*(?:opentelemetry|azure\.).*", done.stderr) == []
