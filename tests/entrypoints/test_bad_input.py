"""A policy that is wrong, or does not fit the database: one clear error, exit 2, nothing touched."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.databases import Database
from tests.shop import PART, ROWS, RULE, untouched

Refused = Callable[..., str]
DUPLICATES = """
[[duplicates]]
tables = ["item", "part"]
key = ["id"]
newest = ["created_at"]
"""
ORPHANS = """
[[orphans]]
tables = ["part"]
column = "item_id"
parent = "item"
parent_column = "id"
"""
UNREFERENCED = """
[[unreferenced]]
table = "item"
column = "id"
references = [{ table = "part", column = "item_id" }]
"""


async def test_the_good_rule_of_these_tests_would_delete_something(one_shop: Database) -> None:
    await one_shop.execute(ROWS)
    assert (await one_shop.run(policy=RULE)).rows == 2
    assert not await untouched(one_shop)


@pytest.mark.parametrize(
    "keep",
    ["0 days", "-1 day", "1 day ago", "soon", "30 dayz", "infinity", "-infinity", "9999 years",
     "99999999999999999999 years", "1 day; delete from item"],
)  # fmt: skip
def test_an_interval_that_is_not_above_zero_or_none_at_all(refused: Refused, keep: str) -> None:
    assert f"public.part: keep = {keep!r}" in refused(policy=RULE + PART.replace("30 days", keep))


def test_a_grace_that_is_not_above_zero(refused: Refused) -> None:
    rule = ORPHANS + 'grace = "-1 day"\nage_column = "created_at"\n'
    assert "public.part: grace = '-1 day'" in refused(policy=RULE + rule)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (PART.replace("created_at", "creatd_at"), ["public.part", "'creatd_at'", "did you mean 'created_at'"]),
        (PART.replace("created_at", "zzz"), ["public.part", "'zzz'", "id, item_id, key, created_at"]),
        (PART.replace("created_at", "item_id"), ["public.part", "'item_id'", "integer", "timestamptz"]),
        (DUPLICATES.replace('"id"', '"idd"'), ["public.item", "'idd'"]),
        (DUPLICATES.replace('"created_at"', '"newer"'), ["public.item", "'newer'"]),
        (DUPLICATES.replace('"id"', '"note"'), ["public.item", "note"]),
        (ORPHANS.replace("item_id", "itm_id"), ["public.part", "'itm_id'", "did you mean 'item_id'"]),
        (ORPHANS.replace('"id"', '"idd"'), ["public.item", "'idd'"]),
        (ORPHANS.replace("item_id", "key"), ["public.part", "uuid", "integer"]),
        (ORPHANS + 'grace = "1 day"\nage_column = "aged"', ["public.part", "'aged'"]),
        (UNREFERENCED.replace('"id"', '"idd"'), ["public.item", "'idd'"]),
        (UNREFERENCED.replace("item_id", "key"), ["public.item", "uuid", "integer"]),
        (UNREFERENCED + 'count_column = "uses"', ["public.item", "'uses'"]),
        (UNREFERENCED + 'count_column = "name"', ["public.item", "name", "text"]),
    ],
)
def test_a_column_that_the_table_lacks_or_that_does_not_fit(refused: Refused, rule: str, words: list[str]) -> None:
    error = refused(policy=RULE + rule)
    assert [word for word in words if word not in error] == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [("item_view", "a view"), ("item_summary", "a materialized view"), ("item_abroad", "a foreign table")],
)
@pytest.mark.parametrize("task", [PART, DUPLICATES, ORPHANS, UNREFERENCED.replace("item", "part")])
def test_a_view_or_a_foreign_table_in_place_of_a_table(refused: Refused, name: str, kind: str, task: str) -> None:
    assert f"public.{name} is {kind}" in refused(policy=RULE + task.replace('"part"', f'"{name}"'))


@pytest.mark.parametrize(
    "where",
    [
        "id =",
        "id == 1",
        "id > 0; delete from item",
        "true;",
        "true) or (true",
        "true) --",
        "true -- all",
        "true /* all",
        "name = 'x",
        'name = "x',
        "id > $1",
        "id",
        "count(*) > 0",
        "row_number() over () > 0",
        "generate_series(1, 2) = 1",
        "nosuch = 1",
        "item.id = 1",
        "nosuch(id)",
        "id = 'abc'",
        "created_at < now() - 'soon'::interval",
        "true limit 1",
        "true union select",
        "true for update",
    ],
)
def test_a_where_that_is_not_one_boolean_expression(refused: Refused, where: str) -> None:
    error = refused(policy=RULE + PART + f"where = {json.dumps(where)}\n")
    assert f"public.part: where = {where!r}" in error


def test_the_same_rule_twice_under_two_names_of_a_table(refused: Refused) -> None:
    error = refused(policy=RULE + RULE.replace('"item"', '"public.item"'))
    assert "public.item" in error
    assert "created_at" in error


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (RULE + "wher = 'x'", ["retention[1].wher", "'where'"]),
        (RULE + PART.replace('"30 days"', "30"), ["retention[2].keep"]),
        (RULE + DUPLICATES.replace('["id"]', "[]"), ["duplicates[1].key", "empty"]),
        (RULE + RULE, ["retention[1]", "retention[2]"]),
        (RULE + PART.replace("part", "pa\\u0000rt"), ["retention[2].table", "\\x00"]),
        (RULE + PART.replace('"part"', "'\"part\"'"), ["retention[2].table", "quotes"]),
        (RULE + "where = = 1", ["line 6, column 9"]),
    ],
)
def test_a_policy_file_that_is_wrong_in_itself(refused: Refused, policy: str, words: list[str]) -> None:
    error = refused(policy=policy)
    assert [word for word in ["policy.toml", *words] if word not in error] == []


def test_a_policy_file_that_is_missing_or_is_not_text(
    shop: Database, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.policy_file.write_bytes(b"\xff\xfe")
    assert "UTF-8" in refused()
    monkeypatch.setenv("MAINTENANCE_POLICY", "nowhere.toml")
    assert "No policy file at nowhere.toml" in refused()
