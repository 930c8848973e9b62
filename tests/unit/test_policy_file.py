"""The policy file: what is refused, and that each message says where and what to write instead."""

from __future__ import annotations

import re

import pytest

from maintenance import policy_file
from maintenance.errors import PolicyError
from maintenance.names import TableName
from maintenance.policy import Vacuum

RETENTION = """
[[retention]]
table = "events"
column = "created_at"
keep = "30 days"
"""
DUPLICATES = """
[[duplicates]]
tables = ["applications"]
key = ["device_id"]
newest = ["updated_at", "id"]
"""
ORPHANS = """
[[orphans]]
tables = ["applications"]
column = "device_id"
parent = "devices"
parent_column = "id"
"""
UNREFERENCED = """
[[unreferenced]]
table = "policy_catalog"
column = "policy_hash"
references = [{ table = "profiles", column = "intune" }]
"""
VACUUM = "[vacuum]\ndead_rows = 1\n"
REFERENCE = '{ table = "profiles", column = "intune" }'


def refused(text: str) -> str:
    """The message of a refusal, which names the file."""
    with pytest.raises(PolicyError) as raised:
        policy_file.parse(text, "policy.toml")
    assert str(raised.value).startswith("policy.toml")
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "place", "near"),
    [
        (RETENTION + 'wher = "x is null"', "retention[1].wher", "where"),
        (RETENTION + RETENTION + 'allow_emtpy = true\nwhere = "x"', "retention[2].allow_emtpy", "allow_empty"),
        (DUPLICATES.replace("newest", "newst"), "duplicates[1].newst", "newest"),
        (ORPHANS + 'age_colum = "x"', "orphans[1].age_colum", "age_column"),
        (UNREFERENCED + 'count_colum = "x"', "unreferenced[1].count_colum", "count_column"),
        (UNREFERENCED.replace("column = \"intune", "colum = \"intune"), "references[1].colum", "column"),
        (VACUUM + "dead_row = 5", "vacuum.dead_row", "dead_rows"),
        (RETENTION.replace("[[retention]]", "[[retentoin]]"), "retentoin", "retention"),
        (VACUUM.replace("vacuum", "vaccum"), "vaccum", "vacuum"),
        ('[lag]\nreplya = "1 s"', "lag.replya", "replay"),
        ("[lagg]\nwaiting = 1", "lagg", "lag"),
    ],
)  # fmt: skip
def test_an_unknown_key_or_section_names_the_place_and_the_nearest_known_one(text: str, place: str, near: str) -> None:
    message = refused(text)
    assert place in message
    assert f"did you mean {near!r}" in message


@pytest.mark.parametrize(
    ("text", "place", "known"),
    [
        (RETENTION + "zzz = 1", "retention[1].zzz", ("table", "column", "keep", "where", "allow_empty")),
        ("[zzz]\na = 1", "zzz", ("retention", "duplicates", "orphans", "unreferenced", "vacuum")),
        ('keep = "30 days"\n' + RETENTION, "keep", ("retention", "duplicates", "orphans", "unreferenced", "vacuum")),
    ],
)
def test_an_unknown_word_that_is_like_no_other_lists_those_that_are_known(
    text: str, place: str, known: tuple[str, ...]
) -> None:
    message = refused(text)
    assert f"{place} is not a known key" in message
    assert all(word in message for word in known)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (RETENTION.replace('"30 days"', "30"), "retention[1].keep"),
        (RETENTION.replace('"events"', '["events"]'), "retention[1].table"),
        (RETENTION + 'allow_empty = "yes"', "retention[1].allow_empty"),
        (DUPLICATES.replace('["applications"]', '"applications"'), "duplicates[1].tables"),
        (DUPLICATES.replace('["device_id"]', '"device_id"'), "duplicates[1].key"),
        (DUPLICATES.replace('["device_id"]', "[1]"), "duplicates[1].key[1]"),
        (ORPHANS.replace('"devices"', "3"), "orphans[1].parent"),
        (UNREFERENCED.replace(f"[{REFERENCE}]", REFERENCE), "unreferenced[1].references"),
        (UNREFERENCED.replace(REFERENCE, '"profiles.intune"'), "unreferenced[1].references[1]"),
        ("[vacuum]\ndead_rows = true", "vacuum.dead_rows"),
        ("[vacuum]\ndead_rows = -1", "vacuum.dead_rows"),
        ("[vacuum]\ndead_fraction = 2", "vacuum.dead_fraction"),
        ('[vacuum]\ndead_fraction = "0.5"', "vacuum.dead_fraction"),
        ("[vacuum]\ndead_fraction = true", "vacuum.dead_fraction"),
        ("[vacuum]\ntables = [1]", "vacuum.tables[1]"),
        ('[vacuum]\ntables = [""]', "vacuum.tables[1]"),
        ("[lag]\nreplay = 10", "lag.replay"),
        ("[lag]\nwal = 16", "lag.wal"),
        ("[lag]\nwaiting = true", "lag.waiting"),
        ("[lag]\nwaiting = -1", "lag.waiting"),
    ],
)
def test_a_wrong_type_names_the_rule_by_its_number_and_the_key(text: str, place: str) -> None:
    message = refused(text)
    assert f"{place}: " in message
    assert len(message.splitlines()) == 1, "one mistake, one line"


def test_single_brackets_around_a_list_of_rules_are_told_apart_from_double_ones() -> None:
    assert "[[retention]]" in refused(RETENTION.replace("[[retention]]", "[retention]"))
    assert "[vacuum]" in refused(VACUUM.replace("[vacuum]", "[[vacuum]]"))
    assert "[lag]" in refused("[[lag]]\nwaiting = 1")


@pytest.mark.parametrize(
    "text",
    [
        "vacuum = 3",
        'retention = "events"',
        RETENTION.replace('"events"', '["events"]'),
        DUPLICATES.replace('["device_id"]', '"device_id"'),
        UNREFERENCED.replace(REFERENCE, f"{REFERENCE}, {REFERENCE}"),
    ],
)
def test_a_message_is_worded_for_a_reader_of_toml_and_not_of_our_code(text: str) -> None:
    message = refused(text)
    for jargon in ("tuple", "dictionary", "instance of", "TableName", "Value error"):
        assert jargon not in message


@pytest.mark.parametrize("text", [RETENTION + 'wher = "x"', RETENTION.replace("events", "a.b.c"), "zzz = 1"])
def test_a_message_ends_with_one_mark(text: str) -> None:
    assert not re.search(r"[.?!]{2}$", refused(text), re.MULTILINE)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (RETENTION.replace('"events"', '""'), "retention[1].table"),
        (RETENTION.replace("created_at", " "), "retention[1].column"),
        (RETENTION.replace("30 days", " "), "retention[1].keep"),
        (RETENTION + 'where = ""', "retention[1].where"),
        (RETENTION.replace("events", "public."), "retention[1].table"),
        (DUPLICATES.replace('["device_id"]', "[]"), "duplicates[1].key"),
        (DUPLICATES.replace('["device_id"]', '[""]'), "duplicates[1].key[1]"),
        (DUPLICATES.replace('["updated_at", "id"]', "[]"), "duplicates[1].newest"),
        (DUPLICATES.replace('["applications"]', "[]"), "duplicates[1].tables"),
        (UNREFERENCED.replace(REFERENCE, ""), "unreferenced[1].references"),
        ("[vacuum]\ntables = []", "vacuum.tables"),
    ],
)
def test_an_empty_name_key_or_list_is_refused(text: str, place: str) -> None:
    message = refused(text)
    assert f"{place}: " in message
    assert "empty" in message


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[[retention]]\n", "retention[1].table"),
        (DUPLICATES.replace('newest = ["updated_at", "id"]\n', ""), "duplicates[1].newest"),
        (ORPHANS.replace('parent = "devices"\n', ""), "orphans[1].parent"),
        (UNREFERENCED.replace(', column = "intune"', ""), "unreferenced[1].references[1].column"),
    ],
)
def test_a_missing_key_is_named(text: str, place: str) -> None:
    assert f"{place}: is missing" in refused(text)


@pytest.mark.parametrize("character", ["\\u0000", "'", '\\"', "`", ";", "\\n", "\\u001b"])
@pytest.mark.parametrize("key", ["events", "created_at"])
def test_a_nul_or_a_quote_in_a_name_is_refused_and_shown_visibly(character: str, key: str) -> None:
    message = refused(RETENTION.replace(key, f"ev{character}ents"))
    assert f"retention[1].{'table' if key == 'events' else 'column'}: " in message
    assert message.isprintable()


@pytest.mark.parametrize(("key", "value"), [("keep", "30 days"), ("where", "module_id is null")])
def test_a_nul_in_an_interval_or_a_condition_is_refused(key: str, value: str) -> None:
    rule = RETENTION + 'where = "module_id is null"'
    assert re.search(rf"retention\[1\]\.{key}: .*NUL", refused(rule.replace(value, f"{value}\\u0000")))


def test_a_name_that_postgresql_would_cut_or_split_is_refused() -> None:
    assert "63 bytes" in refused(RETENTION.replace("events", "e" * 64))
    assert "63 bytes" in refused(RETENTION.replace("events", "ä" * 32))
    assert "more than one dot" in refused(RETENTION.replace("events", "a.b.c"))


def test_a_grace_period_needs_a_column_to_measure_it_on() -> None:
    assert "orphans[1]: needs both 'grace' and 'age_column'" in refused(ORPHANS + 'grace = "1 day"')
    assert "orphans[1]: needs both 'grace' and 'age_column'" in refused(ORPHANS + 'age_column = "updated_at"')


@pytest.mark.parametrize(
    ("text", "section"),
    [
        (RETENTION + RETENTION, "retention"),
        (RETENTION + RETENTION.replace("30 days", "60 days"), "retention"),
        (2 * (RETENTION + 'where = "module_id is null"\n'), "retention"),
        (DUPLICATES + DUPLICATES.replace("updated_at", "id").replace('"id", "id"', '"id"'), "duplicates"),
        (DUPLICATES.replace('"device_id"', '"a", "b"') + DUPLICATES.replace('"device_id"', '"b", "a"'), "duplicates"),
        (DUPLICATES + DUPLICATES.replace('"applications"', '"hardware", "applications"'), "duplicates"),
        (ORPHANS + ORPHANS, "orphans"),
        (UNREFERENCED + UNREFERENCED, "unreferenced"),
    ],
)
def test_the_same_rule_twice_is_refused_with_both_numbers(text: str, section: str) -> None:
    message = refused(text)
    assert f"{section}[1]" in message
    assert f"{section}[2]" in message


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (DUPLICATES.replace('"applications"', '"hardware", "hardware"'), "duplicates[1].tables: names hardware twice"),
        (DUPLICATES.replace('"device_id"', '"a", "a"'), "duplicates[1].key: names a twice"),
        (UNREFERENCED.replace(REFERENCE, f"{REFERENCE}, {REFERENCE}"), "unreferenced[1].references: names profiles"),
    ],
)
def test_the_same_name_twice_within_a_rule_is_refused(text: str, place: str) -> None:
    assert place in refused(text)


def test_two_rules_of_one_table_with_different_conditions_are_fine() -> None:
    text = RETENTION + 'where = "a"\n' + RETENTION + 'where = "b"\n' + RETENTION
    assert [rule.where for rule in policy_file.parse(text).retention] == ["a", "b", None]


def test_several_mistakes_are_told_at_once_each_with_its_place() -> None:
    message = refused(RETENTION.replace("keep", "kep") + DUPLICATES.replace("newest", "newst"))
    for place in ("retention[1].kep", "retention[1].keep", "duplicates[1].newst", "duplicates[1].newest"):
        assert place in message


def test_a_policy_of_all_sections_is_read_as_written() -> None:
    text = RETENTION.replace("events", "Log.Ev ents") + DUPLICATES + ORPHANS + UNREFERENCED + VACUUM
    policy = policy_file.parse(text)
    assert policy.retention[0].table == TableName(schema="Log", name="Ev ents")
    assert (policy.duplicates[0].key, policy.duplicates[0].newest) == (("device_id",), ("updated_at", "id"))
    assert (policy.orphans[0].grace, policy.orphans[0].allow_empty_parent) == (None, False)
    assert policy.unreferenced[0].references[0].column == "intune"
    assert policy.vacuum == Vacuum(dead_rows=1)
