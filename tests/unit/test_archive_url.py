"""Where archives are: the setting for a container, and the words of a rule."""

from __future__ import annotations

import pytest

from maintenance.archive_url import archive_url
from maintenance.errors import PolicyError, SettingsError
from maintenance.policy_file import parse

RULE = '[[retention]]\ntable = "t"\ncolumn = "at"\nkeep = "1 day"\n'


@pytest.mark.parametrize(
    ("text", "account", "container", "folder"),
    [
        ("https://me.blob.core.windows.net/rows", "https://me.blob.core.windows.net", "rows", ""),
        ("https://me.blob.core.windows.net/rows/a%20b/c/", "https://me.blob.core.windows.net", "rows", "a b/c"),
        ("https://127.0.0.1:10000/dev/rows/a", "https://127.0.0.1:10000/dev", "rows", "a"),
        ("https://localhost/dev/rows", "https://localhost/dev", "rows", ""),
    ],
)
def test_a_container_is_found_in_its_url(text: str, account: str, container: str, folder: str) -> None:
    found = archive_url({"MAINTENANCE_ARCHIVE_URL": text})
    assert found is not None
    assert (found.account, found.container, found.folder) == (account, container, folder)
    assert str(found) == text.rstrip("/")


@pytest.mark.parametrize(
    "text",
    [
        "http://me.blob.core.windows.net/rows", "me.blob.core.windows.net/rows", "https://me.blob.core.windows.net",
        "https://me.blob.core.windows.net/", "https:///rows", "https://127.0.0.1/dev", "rows", "https://[x/rows",
        "https://me.blob.core.windows.net/rows/../other",
        "https://me.blob.core.windows.net/rows//a",
    ],
)  # fmt: skip
def test_what_names_no_container_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="names no container to be reached by TLS"):
        archive_url({"MAINTENANCE_ARCHIVE_URL": text})


@pytest.mark.parametrize("more", ["?sv=2024&sig=s3cret", "#s3cret"])
def test_a_signature_is_refused_and_not_repeated(more: str) -> None:
    for text in (f"https://me.blob.core.windows.net/rows{more}", "https://me:s3cret@blob.example/rows"):
        with pytest.raises(SettingsError, match="more than a place") as raised:
            archive_url({"MAINTENANCE_ARCHIVE_URL": text})
        assert "s3cret" not in str(raised.value)


def test_unset_is_none() -> None:
    assert archive_url({}) is archive_url({"MAINTENANCE_ARCHIVE_URL": ""}) is None


@pytest.mark.parametrize("where", ["azure-blob", "file:///var/archives", "file:///var/an%20archive", "file:/var/a"])
def test_a_rule_may_name_the_account_or_a_folder(where: str) -> None:
    policy = parse(f'{RULE}archive = "{where}"\narchive_keep = "1 year"')
    assert policy.archives() == {where}


@pytest.mark.parametrize(
    "where",
    [
        "",
        "blob",
        "/var/archives",
        "file://host/var",
        "file:var",
        "file:///",
        "file:///var/../etc",
        "https://x/y",
        "file:///a?b",
    ],
)
def test_a_rule_may_name_nothing_else(where: str) -> None:
    with pytest.raises(PolicyError, match="archive"):
        parse(f'{RULE}archive = "{where}"')


def test_how_long_needs_where() -> None:
    with pytest.raises(PolicyError, match="'archive_keep' and no 'archive'"):
        parse(f'{RULE}archive_keep = "1 year"')
