"""Collectors of telemetry on loopback: one that speaks OTLP over HTTP, and Application Insights' ingestion."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

KEY = "11111111-2222-4333-8444-555555555555"


def plain(attributes: Any) -> dict[str, Any]:
    """Attributes as a dict."""
    return {one.key: _plain(one.value) for one in _pairs(attributes)}


def _pairs(attributes: Any) -> Iterator[KeyValue]:
    yield from attributes


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind)


@dataclass(slots=True)
class Collector:
    """What arrived at an OTLP endpoint."""

    url: str = ""
    delay: float = 0.0
    """Seconds before a request is answered."""
    headers: list[dict[str, str]] = field(default_factory=list)
    traces: list[ExportTraceServiceRequest] = field(default_factory=list)
    points: list[ExportMetricsServiceRequest] = field(default_factory=list)
    records: list[ExportLogsServiceRequest] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url}

    @property
    def resources(self) -> list[dict[str, Any]]:
        """Those of all requests of the three kinds."""
        found = [plain(part.resource.attributes) for one in self.traces for part in one.resource_spans]
        found += [plain(part.resource.attributes) for one in self.points for part in one.resource_metrics]
        return found + [plain(part.resource.attributes) for one in self.records for part in one.resource_logs]

    def spans(self, name: str) -> list[Span]:
        every = [s for one in self.traces for r in one.resource_spans for scope in r.scope_spans for s in scope.spans]
        return [span for span in every if span.name == name]

    @property
    def metrics(self) -> dict[str, Metric]:
        """By name; the last that arrived, as they are cumulative."""
        parts = [scope for one in self.points for r in one.resource_metrics for scope in r.scope_metrics]
        return {metric.name: metric for scope in parts for metric in scope.metrics}

    def points_of(self, name: str) -> list[Any]:
        metric = self.metrics[name]
        kind = metric.WhichOneof("data")
        assert kind
        return list(getattr(metric, kind).data_points)

    def values(self, name: str, *attributes: str) -> dict[tuple[Any, ...], float]:
        """A metric's values by these attributes; a histogram's counts."""
        found: dict[tuple[Any, ...], float] = {}
        for point in self.points_of(name):
            key = tuple(plain(point.attributes)[f"maintenance.{attribute}"] for attribute in attributes)
            value = point.count if hasattr(point, "count") else getattr(point, point.WhichOneof("value"))
            found[key] = found.get(key, 0) + value
        return found

    @property
    def logs(self) -> list[LogRecord]:
        parts = [scope for one in self.records for r in one.resource_logs for scope in r.scope_logs]
        return [record for scope in parts for record in scope.log_records]


@asynccontextmanager
async def otlp() -> AsyncIterator[Collector]:
    """An OTLP endpoint for the time of the block."""
    collector = Collector()
    kinds: dict[str, tuple[Any, list[Any]]] = {
        "/v1/traces": (ExportTraceServiceRequest, collector.traces),
        "/v1/metrics": (ExportMetricsServiceRequest, collector.points),
        "/v1/logs": (ExportLogsServiceRequest, collector.records),
    }

    async def collect(request: web.Request) -> web.Response:
        message, arrived = kinds[request.path]
        collector.headers.append(dict(request.headers))
        arrived.append(message.FromString(await request.read()))
        await asyncio.sleep(collector.delay)
        return web.Response(content_type="application/x-protobuf")

    async with _serving(collect) as collector.url:
        yield collector


@dataclass(slots=True)
class Insights:
    """What arrived at Application Insights."""

    url: str = ""
    items: list[dict[str, Any]] = field(default_factory=list)

    @property
    def connection_string(self) -> str:
        return f"InstrumentationKey={KEY};IngestionEndpoint={self.url}/"

    @property
    def environment(self) -> dict[str, str]:
        """With what the exporter would report on itself, to Microsoft, turned off."""
        return {
            "APPLICATIONINSIGHTS_CONNECTION_STRING": self.connection_string,
            "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
            "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
        }

    def data(self, kind: str) -> list[dict[str, Any]]:
        """The items of a kind, such as RemoteDependencyData."""
        return [item["data"]["baseData"] for item in self.items if item["data"]["baseType"] == kind]


@asynccontextmanager
async def insights() -> AsyncIterator[Insights]:
    """An ingestion endpoint for the time of the block."""
    arrived = Insights()

    async def track(request: web.Request) -> web.Response:
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        items = json.loads(body)
        arrived.items += items
        return web.json_response({"itemsReceived": len(items), "itemsAccepted": len(items), "errors": []})

    async with _serving(track) as arrived.url:
        yield arrived


@asynccontextmanager
async def _serving(handler: Any) -> AsyncIterator[str]:
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/{tail:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    (address,) = runner.addresses
    try:
        yield f"http://127.0.0.1:{address[1]}"
    finally:
        await runner.cleanup()
