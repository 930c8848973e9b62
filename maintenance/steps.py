"""Steps: what a task plans for one table, and what the engine may ask of it; a strategy is a kind of step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from maintenance.deletion import PLAIN, Deleter
from maintenance.models import UNLIMITED, Archive, Batch, Cursor, Query, Reach, Verdict

if TYPE_CHECKING:
    from asyncpg import Connection

    from maintenance.names import Fragment, Table


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
    reach: Reach = UNLIMITED
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
