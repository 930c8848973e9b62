"""The vocabulary of a run: what a task plans, what a batch did, how a step and a run ended."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from maintenance.deletion import PLAIN, Deleter

if TYPE_CHECKING:
    from datetime import datetime

    from asyncpg import Connection

    from maintenance.names import Fragment, Table

Cursor: TypeAlias = dict[str, int | str | None]
"""How far a step has come, in the words of its strategy; stored as JSON beside the batch's work."""


class RunStatus(StrEnum):
    """How a run stands. `interrupted` left work for the next run; it did not fail."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    INTERRUPTED = "interrupted"


class StepStatus(StrEnum):
    """How a step stands. Only `succeeded` and `absent` count as nothing left to do."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    BLOCKED = "blocked"
    ABSENT = "absent"


class StopReason(StrEnum):
    """Why a run or a step ended."""

    DONE = "done"
    BUDGET = "budget"
    LOCK = "lock"
    LAG = "lag"
    GUARD = "guard"
    BLOCKED = "blocked"
    PAUSED = "paused"
    OBJECTIVE = "objective"
    LEASE = "lease"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An end that needs no batch, or cut the batches short: why, in words, and the server's SQLSTATE if it gave one."""

    status: StepStatus
    stop_reason: StopReason
    message: str | None = None
    sqlstate: str | None = None


DONE = Verdict(status=StepStatus.SUCCEEDED, stop_reason=StopReason.DONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How much of its table a rule may take in one run; None where there is no limit."""

    max_rows: int | None = None
    max_fraction: float | None = None
    ramp: int | None = None
    """Rows a run for a rule that would take more; without it such a rule is stopped."""

    @property
    def limited(self) -> bool:
        """Whether anything has to be measured before the first row goes."""
        return self.max_rows is not None or (self.max_fraction is not None and self.max_fraction < 1)


Query: TypeAlias = tuple[str, tuple[object, ...]]
"""A statement and its values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one bounded unit of work did, and where the next one starts."""

    rows: int = 0
    """Rows deleted."""
    updated: int = 0
    """Rows rewritten."""
    found: int | None = None
    """Rows that the step would delete in all, once it knows."""
    coming: int = 0
    """Rows, as far as is known, that the batches after it cannot but take once it is committed."""
    sure: bool = True
    """False where its rows are a guess, or left the table in an earlier batch: no limit is held against them."""
    held: int = 0
    """Rows that the step has passed over up to here, since others hold them."""
    cursor: Cursor | None = None
    done: bool
    progress: float | None = None
    """Share of the step's way that lies behind, 0 to 1; None where nobody can tell."""
    note: str | None = None
    """What a person should know of it, when rows do not tell."""
    paced: bool = True
    """False where its time says nothing of the next batch's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """How earlier attempts at a step ended, as far as the next one needs to know."""

    strategy: str
    cursor: Cursor | None
    starved: bool
    """Its run ended before it got its turn."""
    last_turn: int
    """Grows with the time of the last turn that it had; 0 where it never had one."""
    since: datetime
    """When it was last done; where it never was, when it was first tried."""
    unfinished: bool
    """The last attempt left something to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """How long a step took the last time that it had its turn."""

    seconds: float
    size: int
    """Bytes of its table, with indexes and TOAST, when it began."""
    cut: bool = False
    """It was not over by then: the budget was."""
    after: int | None = None
    """Bytes of the same when it ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """Where the rows of a step are stored before they go."""

    where: str
    """As the policy has it."""
    before: datetime | None
    """Archives of the same place that are older are removed; None where none is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(ABC):
    """One table's share of a task, decided but not yet done. A strategy is a subclass; `str()` says what it does."""

    transactional: ClassVar[bool] = True
    """False where PostgreSQL refuses the work, or some of it, inside a transaction (VACUUM)."""
    limits: ClassVar[tuple[int, int, int]] = (1, 1, 1)
    """Smallest, first and largest size of a batch, in the strategy's own unit (blocks or rows)."""

    task: str
    strategy: str
    table: Table
    """A plain table or a leaf partition, never a partitioned parent (but for ANALYZE, which needs it)."""
    oid: int = 0
    """The table's own, so that another table of its name is not taken for it; 0 where there is no table."""
    subject: str = ""
    """What the rule is about; two rules of one task with one table and subject would fight over the same rows."""
    rule: str = ""
    """The whole rule; with task, table and strategy it finds this step's cursor in an earlier run."""
    rows: int | None = None
    """Rows that would go; None where the plan did not count."""
    updated: int | None = None
    """Rows that would be rewritten; None where the plan did not count, or nothing is ever rewritten."""
    exact: bool = False
    depends: tuple[Table, ...] = ()
    """Other tables that the rule looks at; what goes from them changes what goes from this one."""
    covers: frozenset[Table] = frozenset()
    """Partitions of `table` whose rows go in this step, and have none of their own."""
    summary: str
    need: float = 0.0
    """The larger, the earlier within its task."""
    expected: float | None = None
    """Seconds that it will probably take, as it is one piece; None where nobody can tell, or it goes in batches."""
    jobs: int = 1
    """How many such steps may be done side by side, each on a connection of its own."""
    archive: Archive | None = None
    """Where its rows are stored first; None where they just go."""
    deleter: Deleter = PLAIN
    """What its rows go through; whoever does the step may put another one in its place."""
    reach: Reach = Reach()
    objective: float | None = None
    """Seconds for which something that should be gone may be there after a run; None where nobody cares."""
    closing: str | None = None
    """A statement that is made once after all steps of the task, if one of them was done; none may be in need of it."""

    def __str__(self) -> str:
        return f"{self.task} {self.table} by {self.strategy}: {self.summary}"

    @property
    def place(self) -> tuple[str, str, str]:
        """What finds the same step in another slice or run."""
        return self.task, str(self.table), self.rule

    @property
    def root(self) -> Table:
        """The table of the rule, where `table` is one of its partitions."""
        return self.table

    @property
    def tells(self) -> bool:
        """Whether the first batch finds out how many rows would go, before one does."""
        return False

    @property
    def deletes(self) -> bool:
        """Whether rows go by it."""
        return False

    @property
    def ages(self) -> bool:
        """Whether rows come to be due by time alone."""
        return False

    @property
    def only_deletes(self) -> bool:
        """Whether it has nothing to do where no row would go."""
        return True

    def counting(self, sample: Fragment, *, whole: bool) -> Query | None:
        """A query that counts what would go from `table`, or of the `whole` rule; None where the step deletes no rows.

        `sample` is a TABLESAMPLE clause, or empty for all of it.
        """
        return None

    def doomed(self, columns: list[str]) -> Query | None:
        """A query of these columns of the rows that would go from `table`; None where nothing can refer to them."""
        return None

    async def guard(self, connection: Connection) -> str | None:
        """Why the step must not begin, or None; asked when its turn comes, after all that went before it."""
        return None

    @abstractmethod
    async def batch(self, connection: Connection, cursor: Cursor | None, limit: int) -> Batch:
        """Do one unit of at most about `limit`; safe to repeat, and safe to lose with its transaction."""

    async def lag(self, connection: Connection, *, done: bool) -> float | None:
        """Seconds for which the oldest row that should be gone has been due, 0 if there is none; None if not known."""
        return None

    @property
    def lag_at_a_glance(self) -> bool:
        """Whether `lag` is one look into an index, so that it can be asked before the step as well."""
        return False

    def in_transaction(self, cursor: Cursor | None) -> bool:
        """Whether the next batch is one transaction together with its entry in the ledger."""
        return self.transactional

    def divides(self, cursor: Cursor | None) -> bool:
        """Whether a smaller limit would make the next batch shorter."""
        return self.transactional

    def past_locks(self, cursor: Cursor | None) -> Cursor | None:
        """The cursor by which the next batch passes over rows that others hold; None where it cannot."""
        return None

    def go_on(self, cursor: Cursor) -> Cursor | None:
        """Where to go on with the cursor of an earlier slice, whose instant was ours; None starts anew."""
        return cursor

    def resume(self, cursor: Cursor) -> Cursor | None:
        """Where to go on with the cursor of an earlier run; None starts anew."""
        return cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled(Step):
    """A step that was over before it began: the table is absent, a guard stopped it, or planning it failed."""

    strategy: str = "none"
    verdict: Verdict
    ruled: bool = False
    """It stands for a rule that deletes, so what that wants gone is due for longer while nothing is done."""

    async def batch(self, connection: Connection, cursor: Cursor | None, limit: int) -> Batch:
        """Nothing: the verdict stands."""
        return Batch(done=True, cursor=cursor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped(Settled):
    """A step that a limit stopped, and that an approval lets begin."""

    step: Step
    going: int
    """Rows that its rule would take of the whole table."""
