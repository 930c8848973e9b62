"""Names: what PostgreSQL can have, and how it enters a statement."""

from __future__ import annotations

import pytest

from maintenance.errors import PolicyError
from maintenance.names import Table, TableName, checked_name, listed, quoted


@pytest.mark.parametrize(
    ("text", "schema", "name"),
    [
        ("events", None, "events"),
        ("public.events", "public", "events"),
        ("Public.Events", "Public", "Events"),
        ("my schema.my table", "my schema", "my table"),
        ("gerät", None, "gerät"),
        ("1st", None, "1st"),
        ("select", None, "select"),
        ("a-b.c$d", "a-b", "c$d"),
        ("n" * 63, None, "n" * 63),
    ],
)
def test_a_table_is_named_by_itself_or_with_its_schema_and_case_counts(
    text: str, schema: str | None, name: str
) -> None:
    assert TableName.parse(text) == TableName(schema=schema, name=name)
    assert str(TableName.parse(text)) == text


@pytest.mark.parametrize("text", ["a.b.c", "", ".", "a.", ".a", " ", "a. ", 'a"b', "a'b", "a`b", "a;b", "a\0b", "a\nb"])
def test_what_is_no_name_of_a_table_is_refused(text: str) -> None:
    with pytest.raises(PolicyError):
        TableName.parse(text)


@pytest.mark.parametrize("name", ["n" * 64, "ä" * 32, "\U0001f418" * 16])
def test_a_name_is_measured_in_bytes_since_postgresql_cuts_it_silently(name: str) -> None:
    assert checked_name(name.encode()[:60].decode())
    with pytest.raises(PolicyError, match="63 bytes"):
        checked_name(name)


@pytest.mark.parametrize(("character", "shown"), [('"', "'\"'"), ("\0", r"'\x00'"), (";", "';'"), ("\t", r"'\t'")])
def test_the_message_shows_the_wrong_character_visibly(character: str, shown: str) -> None:
    with pytest.raises(PolicyError) as raised:
        checked_name(f"eve{character}nts")
    assert shown in str(raised.value)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    ("name", "sql"),
    [("events", '"events"'), ("Events", '"Events"'), ('a"b', '"a""b"'), ('"', '""""'), ("a;b--", '"a;b--"')],
)
def test_names_of_the_catalogs_are_quoted_whatever_they_contain(name: str, sql: str) -> None:
    assert quoted(name) == sql
    assert Table(schema=name, name=name).sql == f"{sql}.{sql}"


def test_fragments_are_joined_with_their_separator() -> None:
    assert listed([quoted("a"), quoted("b")]) == '"a", "b"'
    assert listed([quoted("a"), quoted("b")], " and ") == '"a" and "b"'
