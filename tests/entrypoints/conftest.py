"""A shop that no test may change, and the command line as a refusal shows it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from maintenance.__main__ import main
from maintenance.demo.server import Server
from tests.databases import Database, fresh
from tests.shop import ROWS, RULE, SCHEMA, untouched


@pytest.fixture(scope="session")
async def one_shop(server: Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Database]:
    async with fresh(server, "shop", tmp_path_factory.mktemp("shop")) as database:
        await database.execute(SCHEMA)
        yield database


@pytest.fixture
async def shop(one_shop: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    """The shop with a good policy, as the environment's database; a test must leave its rows as they were."""
    await one_shop.execute(ROWS)
    one_shop.write_policy(RULE)
    for name, value in one_shop.environment.items():
        monkeypatch.setenv(name, value)
    yield one_shop
    assert await untouched(one_shop)


@pytest.fixture
def refused(shop: Database, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The error of a command line that is refused: one on standard error and no more, exit 2."""

    def told(*words: str, policy: str | None = None) -> str:
        if policy is not None:
            shop.write_policy(policy)
        code = main(words or ("run",))
        out, err = capsys.readouterr()
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert err.count("error: ") == 1
        return err

    return told
