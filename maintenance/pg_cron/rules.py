"""Rules: each task's rules compiled by the words that the task itself deletes by."""

from __future__ import annotations

from dataclasses import replace

from maintenance.catalog import Relation, find
from maintenance.names import Fragment, Table, TableName, quoted
from maintenance.pg_cron.compiled import LEAF, CompiledRule, Guarded
from maintenance.rules import Duplicates, Orphans, Retention, Unreferenced
from maintenance.sql import statement
from maintenance.steps import Settled
from maintenance.tasks import duplicates, expired, heap, orphans, retention, rivals, unreferenced
from maintenance.tasks.rivals import Key
from maintenance.tasks.rows import HeapRetention
from maintenance.tasks.survey import Survey, located

_FILE = "pg_cron"
_RANGE = {"first": Fragment("$2"), "last": Fragment("$3")}
"""The range or the addresses that a statement is about, in the numbers that the procedures give them."""
_ONLY = Fragment("only")


def absent(task: str, name: TableName) -> CompiledRule:
    """The rule on a table that this database does not have."""
    return CompiledRule(
        task=task, table_name=str(name), subject="", rule="", summary="this database has no such table",
        strategy="absent", named=((_quoted(name), ""),),
    )  # fmt: skip


async def retained(rule: Retention, survey: Survey) -> CompiledRule:
    """A rule of retention."""
    relation = await located(survey, expired.NAME, rule.table)
    if isinstance(relation, Settled):
        return absent(expired.NAME, rule.table)
    whole = await retention.expired_of(rule, relation, survey)
    part = replace(whole, table=LEAF.table, only=_ONLY)
    claims = await retention.judges_others(survey, rule)
    extra = retention.besides(rule)
    stretch = Fragment(part.sql("heap_stretch"))
    floor = None if rule.keep_newest is None else whole.sql("floor")
    named = [rule.column, *(rule.keep_per_key.columns if rule.keep_per_key else ())]
    return CompiledRule(
        task=expired.NAME, table_name=str(relation.table), root=relation.table.sql, strategy="heap",
        subject=f"{rule.column}{extra}", rule=f"{rule.column} keep {rule.keep}{extra}",
        summary=f"{rule.column} older than {rule.keep}{extra}; in one pass over the heap",
        guards=() if rule.allow_empty else (
            Guarded(question=whole.sql("something_stays"), stop=retention.would_empty(rule, relation)),
        ),
        named=tuple((relation.table.sql, column) for column in named),
        limits=HeapRetention.limits, reach=rule.reach, keep=rule.keep, moment=str(whole.moment.type),
        newest=rule.keep_newest, floor=floor,
        counts=whole.sql("count"), leaf_counts=part.sql("count"), how_many=_how_many(relation),
        doomed=part.sql("find", what=Fragment(f"{part.alias}.ctid")),
        sweep=None if claims else part.sql("delete_stretch", stretch=stretch),
        claim=part.sql("claim_stretch", stretch=stretch, patience=heap.WAIT),
        claim_over=part.sql("claim_stretch", stretch=stretch, patience=heap.PASS_OVER),
        remove=part.sql("delete_claimed"), held=part.sql("count_stretch", stretch=stretch),
    )  # fmt: skip


async def orphaned(rule: Orphans, name: TableName, survey: Survey) -> CompiledRule:
    """A rule of orphans on one of its tables."""
    relation = await located(survey, orphans.NAME, name)
    if isinstance(relation, Settled):
        return absent(orphans.NAME, name)
    parent = await find(survey.connection, rule.parent)
    found = await orphans.orphaned_of(rule, survey, relation, parent)
    stake = Fragment(found.sql("any_child", relation.table))
    witnessed = Fragment(found.sql("any_parent", relation.table))
    stop = orphans.alone(rule, relation, found.parent)
    root = _quoted(rule.parent) if parent is None else parent.table.sql
    aged = [rule.age_column] if rule.age_column else []
    return CompiledRule(
        task=orphans.NAME, table_name=str(relation.table), root=relation.table.sql, strategy="heap",
        subject=orphans.subject_of(rule), rule=orphans.text_of(rule), summary=f"no parent by {orphans.text_of(rule)}",
        guards=() if rule.allow_empty_parent else (_either(witnessed, stake, stop),),
        named=(*((relation.table.sql, column) for column in [rule.column, *aged]), (root, rule.parent_column)),
        limits=orphans.OrphansStep.limits, reach=rule.reach, keep=rule.grace,
        moment=found.moment,
        proof=None if parent is None else statement("catalog", "foreign_key"),
        proof_says="the foreign key %s leaves no orphans",
        columns=(rule.column, rule.parent_column), parent=root,
        counts=found.sql("count", relation.table, only=_whole(relation)), leaf_counts=found.sql("count", LEAF.table),
        how_many=_how_many(relation), doomed=found.sql("find", LEAF.table, what=Fragment("child.ctid")),
        claim=found.sql("claim_stretch", LEAF.table, patience=heap.WAIT, **_RANGE),
        claim_over=found.sql("claim_stretch", LEAF.table, patience=heap.PASS_OVER, **_RANGE),
        remove=found.sql("delete_claimed", LEAF.table, **_RANGE), held=found.sql("count_stretch", LEAF.table, **_RANGE),
    )  # fmt: skip


async def unreferred(rule: Unreferenced, survey: Survey) -> CompiledRule:
    """A rule of unreferenced."""
    relation = await located(survey, unreferenced.NAME, rule.table)
    if isinstance(relation, Settled):
        return absent(unreferenced.NAME, rule.table)
    found = [(reference, await find(survey.connection, reference.table)) for reference in rule.references]
    usage = unreferenced.usage_of(rule, relation, found)
    sources = tuple(
        (_quoted(reference.table) if table is None else table.table.sql, reference.column) for reference, table in found
    )
    counted = [rule.count_column] if rule.count_column else []
    return CompiledRule(
        task=unreferenced.NAME, table_name=str(relation.table), root=relation.table.sql, strategy="grouped",
        subject=rule.column, rule=rule.column,
        summary=f"{rule.column} is in none of {', '.join(str(reference) for reference in rule.references)}",
        guards=_silences(rule, relation, usage, found),
        named=(*((relation.table.sql, column) for column in [rule.column, *counted]), *sources),
        limits=unreferenced.UnreferencedStep.limits, reach=rule.reach,
        counts=usage.sql("count", relation.table, only=_whole(relation)), leaf_counts=usage.sql("count", LEAF.table),
        how_many=_how_many(relation), doomed=usage.sql("find", LEAF.table, what=Fragment("entry.ctid")),
        claim=usage.sql("claim_stretch", LEAF.table, patience=heap.WAIT, **_RANGE),
        claim_over=usage.sql("claim_stretch", LEAF.table, patience=heap.PASS_OVER, **_RANGE),
        remove=usage.sql("delete_claimed", LEAF.table, **_RANGE),
        correct=usage.sql("count_claimed", LEAF.table, **_RANGE) if rule.count_column else None,
        held=usage.sql("count_stretch", LEAF.table, **_RANGE),
    )  # fmt: skip


async def rivalling(rule: Duplicates, name: TableName, survey: Survey) -> CompiledRule:
    """A rule of duplicates on one of its tables."""
    relation = await located(survey, rivals.NAME, name)
    if isinstance(relation, Settled):
        return absent(rivals.NAME, name)
    within = duplicates.within_leaf(rule, relation)
    key = Key(
        among=LEAF.table if within else relation.table, columns=tuple(relation.column(column) for column in rule.key),
        newest=tuple(relation.column(column) for column in rule.newest),
    )  # fmt: skip
    counts = key.sql("count", LEAF) if within and not relation.partitioned else replace(
        key, among=relation.table
    ).sql("count_all", LEAF)  # fmt: skip
    chunks = Fragment(duplicates.chunks(key, LEAF))
    subject = ", ".join(sorted(rule.key))
    columns = dict.fromkeys((*rule.key, *rule.newest))
    return CompiledRule(
        task=rivals.NAME, table_name=str(relation.table), root=relation.table.sql, strategy="ordered",
        subject=subject, rule=f"{subject} by {', '.join(rule.newest)}",
        summary=f"more than one row for a {', '.join(rule.key)}; the newest by {', '.join(rule.newest)} stays",
        named=tuple((relation.table.sql, column) for column in columns),
        limits=duplicates.DuplicatesStep.limits, reach=rule.reach,
        proof=statement("catalog", "unique_index") if within else None,
        proof_says="the unique index %s leaves no duplicates", columns=tuple(rule.key),
        counts=counts, leaf_counts=key.sql("count", LEAF), how_many=_how_many(relation),
        doomed=key.sql("doomed", LEAF, find=Fragment(key.sql("find", LEAF)), what=Fragment("loser.ctid")),
        pass_=statement(_FILE, "chunks_in_all", chunks=chunks),
        remove=key.delete_sql(LEAF, free=Fragment(key.sql("all_losers", LEAF)), patience=heap.WAIT),
        remove_over=key.delete_sql(LEAF, free=Fragment(key.sql("free_losers", LEAF)), patience=heap.PASS_OVER),
    )  # fmt: skip


def _silences(
    rule: Unreferenced, relation: Relation, usage: unreferenced.Usage, found: unreferenced.Found
) -> tuple[Guarded, ...]:
    silences, remedy = unreferenced.silences(rule, found), unreferenced.remedy(relation.table)
    if not silences:
        return ()
    stake = Fragment(usage.sql("any_value", relation.table))
    never = Fragment(statement(_FILE, "never"))
    asked = [
        _either(never, stake, f"the referencing table {name} is absent, {remedy}") if question is None
        else _either(Fragment(question), stake, f"the referencing table {name} is empty, {remedy}")
        for name, question in silences
    ]  # fmt: skip
    stop = f"none of the referencing columns has a value, or none exists, {remedy}"
    return *asked, _either(Fragment(usage.sql("any_use", relation.table)), stake, stop)


def _either(witnessed: Fragment, stake: Fragment, stop: str) -> Guarded:
    return Guarded(question=statement(_FILE, "either", witnessed=witnessed, at_stake=stake), stop=stop)


def _how_many(relation: Relation) -> str:
    return statement("guards", "how_many", only=_whole(relation), table=relation.table.sql)


def _whole(relation: Relation) -> Fragment:
    return Fragment("" if relation.partitioned else "only")


def _quoted(name: TableName) -> Fragment:
    return Table(schema=name.schema, name=name.name).sql if name.schema else quoted(name.name)
