"""Who sets telemetry up, decided by the environment alone."""

from __future__ import annotations

import pytest

from maintenance import settings
from maintenance.telemetry_settings import Provider, telemetry
from tests.collector import KEY

INSIGHTS = {"APPLICATIONINSIGHTS_CONNECTION_STRING": f"InstrumentationKey={KEY}"}
OTLP = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:secret@localhost:4318"}
FUNCTIONS = {"FUNCTIONS_WORKER_RUNTIME": "python"}
WORKER = {"PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY": "true"}
OWN = {"PYTHON_ENABLE_OPENTELEMETRY": "true"}


@pytest.mark.parametrize(
    ("environment", "provider"),
    [
        ({}, Provider.NOBODY),
        (INSIGHTS, Provider.OURS),
        (OTLP, Provider.OURS),
        (INSIGHTS | OTLP, Provider.OURS),
        (INSIGHTS | OTLP | {"OTEL_SDK_DISABLED": "TRUE"}, Provider.NOBODY),
        (INSIGHTS | {"OTEL_SDK_DISABLED": "false"}, Provider.OURS),
        ({"APPLICATIONINSIGHTS_CONNECTION_STRING": "", "OTEL_EXPORTER_OTLP_ENDPOINT": ""}, Provider.NOBODY),
        # Outside Functions the worker's variables mean nothing.
        (WORKER | OWN, Provider.NOBODY),
        (INSIGHTS | WORKER, Provider.OURS),
        (FUNCTIONS, Provider.NOBODY),
        (FUNCTIONS | INSIGHTS | OTLP, Provider.NOBODY),
        (FUNCTIONS | INSIGHTS | WORKER, Provider.WORKER),
        (FUNCTIONS | INSIGHTS | WORKER | OWN, Provider.WORKER),
        (FUNCTIONS | INSIGHTS | OWN, Provider.OURS),
        (FUNCTIONS | OTLP | {"PYTHON_ENABLE_OPENTELEMETRY": "1"}, Provider.OURS),
        (FUNCTIONS | INSIGHTS | {"PYTHON_ENABLE_OPENTELEMETRY": "false"}, Provider.NOBODY),
        (FUNCTIONS | OWN, Provider.NOBODY),
    ],
)
def test_who_sets_telemetry_up(environment: dict[str, str], provider: Provider) -> None:
    assert telemetry(environment).provider is provider
    assert settings.load(environment).telemetry.provider is provider


def test_neither_key_nor_endpoint_shows_in_the_settings() -> None:
    loaded = settings.load(INSIGHTS | OTLP | {"OTEL_EXPORTER_OTLP_HEADERS": "api-key=hidden"})
    assert loaded.telemetry.connection_string == f"InstrumentationKey={KEY}"
    for secret in (KEY, "secret", "hidden"):
        assert secret not in f"{loaded!r} {loaded}"
