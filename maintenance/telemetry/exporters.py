"""Where telemetry goes: Azure Monitor, an OTLP collector, or what the Functions worker has set up. Once a process."""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from opentelemetry import metrics, trace
from opentelemetry._logs import (
    LoggerProvider,
    LogRecord,
    SeverityNumber,
    get_logger_provider,
    set_logger_provider,
)
from opentelemetry.context import get_current
from opentelemetry.metrics import MeterProvider
from opentelemetry.sdk import _logs as sdk_logs
from opentelemetry.sdk import metrics as sdk_metrics
from opentelemetry.sdk import trace as sdk_trace
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import TracerProvider

from maintenance.telemetry_settings import Provider, TelemetrySettings

SERVICE = "postgresql-maintenance"
LOGGER = "maintenance"
FLUSH = 5.0
"""Seconds that a run waits for its telemetry to be delivered."""
_INSTRUMENTATIONS = (
    "azure_sdk", "django", "fastapi", "flask", "httpx", "httpx2", "psycopg2", "requests", "urllib", "urllib3",
)  # fmt: skip
"""Of Azure's distribution; we have none of these to show, or only its own traffic."""
_SEVERITIES = {
    logging.DEBUG: SeverityNumber.DEBUG,
    logging.INFO: SeverityNumber.INFO,
    logging.WARNING: SeverityNumber.WARN,
    logging.ERROR: SeverityNumber.ERROR,
    logging.CRITICAL: SeverityNumber.FATAL,
}
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipelines:
    """What takes spans, metrics and log records."""

    tracers: TracerProvider
    meters: MeterProvider
    loggers: LoggerProvider
    more: tuple[Callable[[], object], ...] = ()
    """What else must be done before the process ends."""

    async def flush(self, seconds: float = FLUSH) -> None:
        """Deliver what is there, or give up after `seconds`; never raises.

        In threads of their own, that nobody waits for at exit: the exporters take no account of a time limit.
        """
        work = [getattr(one, "force_flush", None) for one in (self.tracers, self.meters, self.loggers)]
        loop = asyncio.get_running_loop()
        waiting = [_in_thread(loop, call) for call in (*work, *self.more) if call is not None]
        if waiting:
            await asyncio.wait(waiting, timeout=seconds)


def _in_thread(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> asyncio.Future[None]:
    future: asyncio.Future[None] = loop.create_future()

    def done() -> None:
        if not future.done():
            future.set_result(None)

    def work() -> None:
        with suppress(Exception):
            call()
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(done)

    threading.Thread(target=work, name="telemetry-flush", daemon=True).start()
    return future


class _Handler(logging.Handler):
    """Log records of Python to OpenTelemetry's, with their event's name.

    OpenTelemetry's own handler flushes in a new thread when the process exits, where no thread can start.
    """

    def emit(self, record: logging.LogRecord) -> None:
        fields = {key: value for key, value in vars(record).items() if key not in _PLAIN}
        get_logger_provider().get_logger(record.name).emit(
            LogRecord(
                timestamp=int(record.created * 1e9),
                context=get_current(),
                severity_number=_SEVERITIES.get(record.levelno, SeverityNumber.UNSPECIFIED),
                severity_text=record.levelname,
                body=record.getMessage(),
                attributes=fields,
                event_name=fields.get("event"),
            )
        )


def configured(settings: TelemetrySettings) -> Pipelines:
    """The pipelines of this process, set up now unless the worker, an agent or an earlier run has done that.

    Raises:
        Exception: whatever the exporters make of a wrong endpoint or connection string.
    """
    ours = settings.provider is Provider.OURS
    if ours and isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        _set_up(settings)
    return Pipelines(
        tracers=trace.get_tracer_provider(),
        meters=metrics.get_meter_provider(),
        loggers=get_logger_provider(),
        more=_last_words(settings) if ours else (),
    )


def _set_up(settings: TelemetrySettings) -> None:
    # What goes wrong on the way to a collector is no news on the terminal of a run that went well.
    for name in ("opentelemetry", "azure", "urllib3"):
        logging.getLogger(name).addHandler(logging.NullHandler())
    logger = logging.getLogger(LOGGER)
    before = list(logger.handlers)
    if settings.connection_string is not None:
        _azure(settings, settings.connection_string)
    else:
        _otlp()
    for handler in set(logger.handlers) - set(before):
        logger.removeHandler(handler)
    logger.addHandler(_Handler())
    # At exit they would wait for a collector that is down; what a run has to tell is delivered when it ends.
    for provider in (trace.get_tracer_provider(), metrics.get_meter_provider(), get_logger_provider()):
        shutdown = getattr(provider, "shutdown", None)
        if shutdown is not None:
            atexit.unregister(shutdown)


def _resource() -> Resource:
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, with a service name of ours where they give none."""
    resource = Resource.create()
    if not str(resource.attributes.get(SERVICE_NAME, "unknown_service")).startswith("unknown_service"):
        return resource
    return resource.merge(Resource({SERVICE_NAME: SERVICE}))


def _otlp_parts() -> tuple[BatchSpanProcessor, PeriodicExportingMetricReader, BatchLogRecordProcessor]:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return (
        BatchSpanProcessor(OTLPSpanExporter()),
        PeriodicExportingMetricReader(OTLPMetricExporter()),
        BatchLogRecordProcessor(OTLPLogExporter()),
    )


def _otlp() -> None:
    spans, points, records = _otlp_parts()
    resource = _resource()
    tracers = sdk_trace.TracerProvider(resource=resource, shutdown_on_exit=False)
    tracers.add_span_processor(spans)
    loggers = sdk_logs.LoggerProvider(resource=resource, shutdown_on_exit=False)
    loggers.add_log_record_processor(records)
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(
        sdk_metrics.MeterProvider(metric_readers=[points], resource=resource, shutdown_on_exit=False)
    )
    set_logger_provider(loggers)


def _azure(settings: TelemetrySettings, connection_string: str) -> None:
    from azure.monitor.opentelemetry import configure_azure_monitor

    spans, points, records = _otlp_parts() if settings.otlp else (None, None, None)
    configure_azure_monitor(
        connection_string=connection_string,
        logger_name=LOGGER,
        resource=_resource(),
        instrumentation_options={name: {"enabled": False} for name in _INSTRUMENTATIONS},
        enable_live_metrics=False,
        enable_performance_counters=False,
        disable_offline_storage=True,
        span_processors=[spans] if spans else [],
        metric_readers=[points] if points else [],
        log_record_processors=[records] if records else [],
        # Its default lets five traces a second pass, and may drop the very first.
        **({} if settings.sampler_chosen else {"sampling_ratio": 1.0}),
    )


def _last_words(settings: TelemetrySettings) -> tuple[Callable[[], object], ...]:
    """Azure's exporter reports on itself too, and would do so at exit, for as long as it takes."""
    if settings.connection_string is None or settings.functions:
        return ()
    from azure.monitor.opentelemetry.exporter.statsbeat import shutdown_statsbeat_metrics
    from azure.monitor.opentelemetry.exporter.statsbeat.customer import shutdown_customer_sdkstats_metrics

    return shutdown_statsbeat_metrics, shutdown_customer_sdkstats_metrics
