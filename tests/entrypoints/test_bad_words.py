"""Wrong words on the command line, and how errors are shown: for a person, as JSON, with a traceback."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from maintenance.__main__ import main
from tests.databases import Database
from tests.shop import PART, RULE

Refused = Callable[..., str]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "retenton"], ["'retenton'", "did you mean 'retention'"]),
        (["run", "zzz"], ["'zzz'", "daily-cleanup, weekly-vacuum"]),
        (["run", "--tables", "itm"], ["--tables", "'itm'", "did you mean 'item'"]),
        (["run", "--tables", "item,zzz"], ["--tables", "'zzz'"]),
        (["run", "--tables", ","], ["--tables", "no table"]),
        (["run", "--tables", "a.b.c"], ["--tables", "dot"]),
        (["run", "--tables", '"item"'], ["--tables", "quotes"]),
        (["run", "--budget", "soon"], ["'soon'", "8m"]),
        (["run", "--budget", "8"], ["'8'", "8m"]),
        (["run", "--budget", "0s"], ["'0s'", "above zero"]),
        (["run", "--budget", "9" * 400 + "d"], ["8m"]),
        (["history", "--run", "7"], ["no run 7"]),
    ],
)
def test_wrong_words_on_the_command_line(refused: Refused, words: list[str], said: list[str]) -> None:
    error = refused(*words)
    assert [word for word in said if word not in error] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["clean"], "clean"),
        ([], "VERB"),
        (["plan", "--budget", "8m"], "--budget"),
        (["history", "--limit", "0"], "--limit"),
        (["history", "--limit", "abc"], "abc"),
    ],
)
def test_words_that_no_verb_knows_show_how_it_is_used(
    shop: Database, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert err.startswith("usage: python -m maintenance")
    assert said in err.splitlines()[-1]
    assert "_positive" not in err


@pytest.mark.parametrize("verb", ["run", "plan"])
async def test_with_json_the_error_is_one_document_on_standard_output(shop: Database, verb: str) -> None:
    shop.write_policy(RULE + PART.replace("30 days", "soon"))
    document = await shop.cli_json(verb, exit_code=2)
    assert document == {"error": {"type": "PolicyError", "message": document["error"]["message"]}}
    assert "'soon'" in document["error"]["message"]


async def test_debug_shows_the_traceback_and_the_exit_code_stays(shop: Database) -> None:
    shop.write_policy(RULE + PART.replace("30 days", "soon"))
    done = await shop.cli("run", "--debug")
    assert "Traceback (most recent call last)" in done.stderr
    assert "'soon'" in done.stderr
    assert done.returncode == 2


async def test_in_a_process_of_its_own_too_there_is_one_error_and_no_traceback(shop: Database) -> None:
    shop.write_policy(RULE + PART.replace("30 days", "soon"))
    done = await shop.cli("run")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: public.part: keep = 'soon'")
