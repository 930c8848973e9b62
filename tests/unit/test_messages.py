"""Messages: what we send we understand, and nothing else."""

from __future__ import annotations

import pytest

from maintenance.errors import UsageError
from maintenance.messages import Begin, Continue, parse


@pytest.mark.parametrize(
    "message",
    [Begin(name="daily-cleanup", target="north", key="k"), Begin(name="vacuum", target=None, key="0"),
     Continue(run=1, name="vacuum", slice=0, progress="none", target=None),
     Continue(run=2**40, name="vacuum", slice=24, progress="0a1b2c3d", target="süd")],
)  # fmt: skip
def test_what_is_sent_is_understood(message: Begin | Continue) -> None:
    assert parse(message.text()) == message


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "null", "1", "x", "[" * 5000, '{"begin": {}}', '{"begin": null}', '{"stop": {}}',
     '{"begin": {"name": "a", "target": null, "key": ""}}', '{"begin": {"name": "a", "target": 1, "key": "k"}}',
     '{"begin": {"name": "a", "target": null, "key": "k", "more": 1}}', '{"begin": {"name": "a", "key": "k"}}',
     '{"continue": {"run": "1", "name": "a", "slice": 1, "progress": "p", "target": null}}',
     '{"continue": {"run": 1, "name": "a", "slice": -1, "progress": "p", "target": null}}',
     '{"continue": {"run": true, "name": "a", "slice": 1, "progress": "p", "target": null}}',
     '{"continue": {"run": 1e400, "name": "a", "slice": 1, "progress": "p", "target": null}}',
     '{"continue": {"run": 9223372036854775808, "name": "a", "slice": 1, "progress": "p", "target": null}}',
     '{"continue": {"run": 1, "name": "a", "slice": 1, "progress": "p", "target": null}, "begin": {}}'],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)
