"""Which telemetry is wanted, by the variables that Azure Functions, Application Insights and OpenTelemetry define."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

TELEMETRY = (
    "APPLICATIONINSIGHTS_CONNECTION_STRING", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SDK_DISABLED", "OTEL_TRACES_SAMPLER",
    "FUNCTIONS_WORKER_RUNTIME", "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY", "PYTHON_ENABLE_OPENTELEMETRY",
)  # fmt: skip
"""The variables that decide it, in the order of docs/settings.md. OpenTelemetry itself reads its others."""
_TRUE = ("1", "true", "t", "yes", "y")
"""What the Functions worker takes for true."""


class Provider(StrEnum):
    """Who sets OpenTelemetry up in this process."""

    NOBODY = "nobody"
    """Nothing is configured, so nothing of OpenTelemetry is even imported."""
    WORKER = "worker"
    """The Functions worker has done it: a second time would send everything twice."""
    OURS = "ours"


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetrySettings:
    """Where telemetry goes, and who sets it up."""

    provider: Provider = Provider.NOBODY
    functions: bool = False
    """In a Functions worker, which outlives the run."""
    connection_string: str | None = field(default=None, repr=False)
    """Of Application Insights; it has a key in it."""
    otlp: bool = False
    """To the endpoint and with the headers that OpenTelemetry's own exporters read from the environment."""
    sampler_chosen: bool = False
    """OTEL_TRACES_SAMPLER is set; without it every run is traced."""


def telemetry(env: Mapping[str, str], *, hosted: bool = False) -> TelemetrySettings:
    """What the environment wants; `hosted` where the Functions host has called us."""
    connection_string = env.get("APPLICATIONINSIGHTS_CONNECTION_STRING") or None
    otlp = bool(env.get("OTEL_EXPORTER_OTLP_ENDPOINT"))
    functions = hosted or bool(env.get("FUNCTIONS_WORKER_RUNTIME"))
    provider = _provider(env, functions=functions, somewhere=connection_string is not None or otlp)
    if provider is Provider.NOBODY:
        return TelemetrySettings()
    return TelemetrySettings(
        provider=provider,
        functions=functions,
        connection_string=connection_string,
        otlp=otlp,
        sampler_chosen=bool(env.get("OTEL_TRACES_SAMPLER")),
    )


def _provider(env: Mapping[str, str], *, functions: bool, somewhere: bool) -> Provider:
    if _true(env, "OTEL_SDK_DISABLED"):
        return Provider.NOBODY
    if functions and _true(env, "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY"):
        return Provider.WORKER
    if functions and not _true(env, "PYTHON_ENABLE_OPENTELEMETRY"):
        return Provider.NOBODY
    return Provider.OURS if somewhere else Provider.NOBODY


def _true(env: Mapping[str, str], name: str) -> bool:
    return env.get(name, "").strip().lower() in _TRUE
