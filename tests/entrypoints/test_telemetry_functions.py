"""Telemetry inside Azure Functions: through what the worker has set up, or by ourselves, and never twice."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import subprocess
import sys
from typing import Any

import pytest

from maintenance.lease import lease
from maintenance.messages import Begin
from maintenance.trigger import given_up
from tests.collector import insights, otlp, plain
from tests.databases import ROOT, Database
from tests.host import hosted

RULE = '[[retention]]\ntable = "log"\ncolumn = "created_at"\nkeep = "30 days"\n'
SCHEMA = """
create table log (id int primary key, created_at timestamptz);
insert into log select n, now() + interval '1 hour' - n * interval '1 day' from generate_series(1, 100) n;
"""
# What the worker does before it invokes a function, with exporters that keep all in memory.
WORKER = """
import asyncio, json, logging, sys
from opentelemetry import metrics, trace
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans, reader, records = InMemorySpanExporter(), InMemoryMetricReader(), InMemoryLogRecordExporter()
tracers, loggers = TracerProvider(), LoggerProvider()
tracers.add_span_processor(SimpleSpanProcessor(spans))
loggers.add_log_record_processor(SimpleLogRecordProcessor(records))
trace.set_tracer_provider(tracers)
metrics.set_meter_provider(MeterProvider(metric_readers=[reader]))
logging.getLogger().addHandler(LoggingHandler(logger_provider=loggers))

from maintenance.trigger import tick

for _ in range(2):
    with trace.get_tracer("host").start_as_current_span("invocation"):
        asyncio.run(tick("retention", late=True))
parts = [scope for r in reader.get_metrics_data().resource_metrics for scope in r.scope_metrics]
json.dump({
    "same": trace.get_tracer_provider() is tracers,
    "handlers": len(logging.getLogger("maintenance").handlers),
    "exporters": [name for name in sys.modules if name.startswith("opentelemetry.exporter") or "azure.monitor" in name],
    "spans": [[s.name, s.context.span_id, s.parent and s.parent.span_id] for s in spans.get_finished_spans()],
    "runs": [p.value for s in parts for m in s.metrics if m.name == "maintenance.runs" for p in m.data.data_points],
    "events": [log.log_record.attributes.get("event") for log in records.get_finished_logs()],
}, sys.stdout)
"""
SLOW = """
drop table log;
create table log (id int primary key, created_at timestamptz, filler char(7500));
alter table log alter filler set storage plain;
insert into log select n, now() + interval '1 hour' - n * interval '1 day', '' from generate_series(1, 800) n;
create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.001); return old; end $$;
create trigger slow before delete on log for each row execute function slow();
"""
STORAGE = {"AzureWebJobsStorage": "UseDevelopmentStorage=true"}
IN_FUNCTIONS = {"FUNCTIONS_WORKER_RUNTIME": "python", "OTEL_TRACES_SAMPLER": "always_on"}
needs_worker = pytest.mark.skipif(
    sys.version_info < (3, 13), reason="needs Python 3.13: Azure runs this worker from there on"
)


@pytest.fixture
async def shelf(database: Database) -> Database:
    """70 of 100 log entries are expired."""
    await database.execute(SCHEMA)
    database.write_policy(RULE)
    return database


async def python(
    database: Database, *words: str, said: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, *words],
        env={**database.environment, **IN_FUNCTIONS, **environment},
        cwd=database.folder,
        input=said,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done


async def tick(database: Database, **environment: str) -> subprocess.CompletedProcess[str]:
    """The daily timer ticks in Microsoft's worker."""
    call = json.dumps({"function": "daily_cleanup"}) + "\n"
    worker = str(ROOT / "tests/worker.py")
    done = await python(database, "-X", "importtime", worker, str(ROOT), said=call, **environment)
    assert json.loads(done.stdout.splitlines()[-1])["failed"] is None
    assert await database.values("select count(*) from log") == [30]
    return done


def loaded(done: subprocess.CompletedProcess[str]) -> list[str]:
    return re.findall(r"\| +((?:opentelemetry|azure\.monitor)\S*)", done.stderr)


async def test_what_the_worker_has_set_up_is_used_and_nothing_is_set_up_again(shelf: Database) -> None:
    done = await python(shelf, "-c", WORKER, PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY="true")
    told: dict[str, Any] = json.loads(done.stdout)
    assert (told["same"], told["handlers"], told["exporters"]) == (True, 0, [])
    assert [name for name, *_ in told["spans"]] == ["maintenance.step", "maintenance.run", "invocation"] * 2
    step, run, invocation, *_ = told["spans"]
    assert (step[2], run[2], invocation[2]) == (run[1], invocation[1], None)
    assert told["runs"] == [2]
    assert told["events"] == ["trigger_late", "run_began", "step_ended", "run_ended"] * 2


async def test_importing_the_app_imports_no_telemetry_whatever_is_set(shelf: Database) -> None:
    done = await python(
        shelf, "-X", "importtime", "-c", "import function_app", PYTHON_ENABLE_OPENTELEMETRY="true",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
    )  # fmt: skip
    assert "function_app" in done.stderr
    assert loaded(done) == []
    assert "maintenance.telemetry" not in done.stderr


@needs_worker
async def test_without_a_switch_the_real_worker_loads_nothing_of_opentelemetry(shelf: Database) -> None:
    async with insights() as arrived:
        done = await tick(shelf, **arrived.environment)
    assert loaded(done) == []
    assert arrived.items == []


@needs_worker
async def test_a_run_in_the_real_worker_reaches_application_insights_once(shelf: Database) -> None:
    async with insights() as arrived:
        done = await tick(shelf, PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY="true", **arrived.environment)
    names = [span["name"] for span in arrived.data("RemoteDependencyData") if span["name"].startswith("maintenance.")]
    assert sorted(names) == ["maintenance.run", "maintenance.step", "maintenance.step"]
    assert "opentelemetry.exporter.otlp.proto.http" not in loaded(done)
    runs = [m for item in arrived.data("MetricData") for m in item["metrics"] if m["name"] == "maintenance.runs"]
    assert [run["value"] for run in runs] == [1]
    events = [message["properties"].get("event") for message in arrived.data("MessageData")]
    assert [event for event in events if event] == ["run_began", "step_ended", "step_ended", "run_ended"]


@needs_worker
async def test_a_run_in_the_real_worker_reaches_a_collector_that_we_set_up(shelf: Database) -> None:
    async with otlp() as collector:
        await tick(shelf, PYTHON_ENABLE_OPENTELEMETRY="true", **collector.environment)
    (run,) = collector.spans("maintenance.run")
    assert plain(run.attributes)["maintenance.run.scheduler"] == "functions"
    assert [record.event_name for record in collector.logs] == ["run_began", "step_ended", "step_ended", "run_ended"]
    assert collector.values("maintenance.runs", "status") == {("succeeded",): 1}


@needs_worker
async def test_slices_are_spans_of_one_run_and_a_message_that_comes_twice_is_none(shelf: Database) -> None:
    await shelf.execute(SLOW)
    settings = {
        "MAINTENANCE_BUDGET": "500ms", "PYTHON_ENABLE_OPENTELEMETRY": "true", "MAINTENANCE_SLICES": "2",
    }  # fmt: skip
    async with otlp() as collector, hosted(shelf, STORAGE | settings | collector.environment) as host:
        (message,) = (await host.tick("daily_cleanup", late=True))["sent"]
        assert (await host.deliver(message))["sent"] == []
        before = len(collector.spans("maintenance.run"))
        await host.deliver(message)
        await host.deliver(message, "give_up_run")
    slices = [plain(span.attributes) for span in collector.spans("maintenance.run")]
    assert len(slices) == before
    told = [(one["maintenance.run.id"], one["maintenance.run.name"], one["maintenance.run.slice"]) for one in slices]
    assert told == [(1, "daily-cleanup", 1), (1, "daily-cleanup", 2)]
    (deleted,) = [rows for (operation,), rows in collector.values("maintenance.rows", "operation").items()]
    assert deleted == slices[-1]["maintenance.rows"]
    named = [record.event_name for record in collector.logs if record.event_name != "step_ended"]
    assert named == [
        "trigger_late", "run_began", "run_ended", "run_began", "run_ended", "slices_used_up",
        "slices_used_up", "message_given_up",
    ]  # fmt: skip


@needs_worker
async def test_a_slice_that_must_wait_for_another_run_is_no_failed_run(shelf: Database) -> None:
    await shelf.execute(SLOW)
    settings = {"MAINTENANCE_BUDGET": "500ms", "PYTHON_ENABLE_OPENTELEMETRY": "true"}
    async with otlp() as collector, hosted(shelf, STORAGE | settings | collector.environment) as host:
        (message,) = (await host.tick("daily_cleanup"))["sent"]
        async with lease(shelf.connection):
            waits = await host.deliver(message)
            assert (waits["failed"], waits["sent"]) == (None, [message])
    assert len(collector.spans("maintenance.run")) == 1
    assert "run_failed" not in [record.event_name for record in collector.logs]
    assert collector.values("maintenance.runs", "status") == {("interrupted",): 1}


async def test_a_run_given_up_is_told_of_as_any_that_failed(
    shelf: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in shelf.environment.items():
        monkeypatch.setenv(name, value)
    caplog.set_level(logging.INFO, "maintenance")
    await given_up((Begin(name="retention", target=None, key="a").text()).encode())
    await given_up(b"nonsense")
    told = [(record.levelname, getattr(record, "event", None)) for record in caplog.records]
    assert told == [
        ("ERROR", "message_given_up"), ("ERROR", "run_ended"), ("ERROR", "message_given_up"),
        ("ERROR", "message_unknown"),
    ]  # fmt: skip
