"""The metrics: names, units and attributes, as docs/telemetry.md has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from opentelemetry.metrics import Meter

TASK = "maintenance.task"
TABLE = "maintenance.table"
OPERATION = "maintenance.operation"
STATUS = "maintenance.status"
STOP_REASON = "maintenance.stop_reason"
RUN_NAME = "maintenance.run.name"
_BATCH = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 30.0)
_LONG = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 480.0, 600.0, 1800.0, 3600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric; `attributes` come on top of the database's. None of them can take ever new values."""

    name: str
    kind: Literal["counter", "histogram", "gauge"]
    unit: str
    attributes: tuple[str, ...]
    meaning: str
    boundaries: tuple[float, ...] = ()


def _metric(kind: Literal["counter", "gauge"], name: str, unit: str, attributes: tuple[str, ...], text: str) -> Metric:
    return Metric(name=name, kind=kind, unit=unit, attributes=attributes, meaning=text)


ROWS = _metric("counter", "maintenance.rows", "{row}", (TASK, TABLE, OPERATION), "Rows deleted or rewritten.")
BATCHES = _metric("counter", "maintenance.batches", "{batch}", (TASK, TABLE), "Batches committed.")
STOPS = _metric("counter", "maintenance.stops", "{step}", (TASK, STOP_REASON), "Steps ended, by why they did.")
RUNS = _metric(
    "counter",
    "maintenance.runs",
    "{run}",
    (RUN_NAME, STATUS),
    "Slices of runs ended, by how the run stood then; most runs have one.",
)
BATCH_DURATION = Metric(
    name="maintenance.batch.duration", kind="histogram", unit="s", attributes=(TASK, TABLE), boundaries=_BATCH,
    meaning="How long a batch took, with its retries.",
)  # fmt: skip
STEP_DURATION = Metric(
    name="maintenance.step.duration", kind="histogram", unit="s", attributes=(TASK, TABLE, STATUS), boundaries=_LONG,
    meaning="How long a step took.",
)  # fmt: skip
PAUSED = _metric(
    "counter", "maintenance.lag.paused", "s", (TASK, TABLE),
    "Seconds in which steps held back for a replica, the WAL or sessions that waited.",
)  # fmt: skip
RUN_DURATION = Metric(
    name="maintenance.run.duration", kind="histogram", unit="s", attributes=(RUN_NAME, STATUS), boundaries=_LONG,
    meaning="How long a slice of a run took, from the connection to the last line in the ledger.",
)  # fmt: skip
LAG = _metric(
    "gauge", "maintenance.retention.lag", "s", (TABLE,),
    "For how long the oldest thing that a rule wants gone has been due; 0 where nothing is left.",
)  # fmt: skip
TABLE_SIZE = _metric("gauge", "maintenance.table.size", "By", (TABLE,), "Size of a table with its indexes and TOAST.")
DATABASE_SIZE = _metric("gauge", "maintenance.database.size", "By", (), "Size of the database.")

METRICS = (
    ROWS, BATCHES, STOPS, RUNS, BATCH_DURATION, STEP_DURATION, PAUSED, RUN_DURATION, LAG, TABLE_SIZE, DATABASE_SIZE,
)  # fmt: skip


class Instruments:
    """The metrics as instruments of one meter, for one database."""

    def __init__(self, meter: Meter, database: Mapping[str, str | int]) -> None:
        self._database = dict(database)
        self._counters = {
            m.name: meter.create_counter(m.name, m.unit, m.meaning) for m in METRICS if m.kind == "counter"
        }
        self._gauges = {m.name: meter.create_gauge(m.name, m.unit, m.meaning) for m in METRICS if m.kind == "gauge"}
        self._histograms = {
            m.name: meter.create_histogram(m.name, m.unit, m.meaning, explicit_bucket_boundaries_advisory=m.boundaries)
            for m in METRICS
            if m.kind == "histogram"
        }

    def record(self, metric: Metric, value: float, *values: str) -> None:
        """Add to, record or set a metric; `values` are those of its attributes, in their order."""
        attributes = {**self._database, **dict(zip(metric.attributes, values, strict=True))}
        if metric.kind == "counter":
            self._counters[metric.name].add(value, attributes)
        elif metric.kind == "histogram":
            self._histograms[metric.name].record(value, attributes)
        else:
            self._gauges[metric.name].set(value, attributes)
