"""Pauses: the verbs `pause` and `resume`, by which all runs of a database stop, and may begin again."""

from __future__ import annotations

import argparse
import asyncio
import getpass

from maintenance import switch
from maintenance.answer import Answer
from maintenance.database import connected
from maintenance.ledger import Ledger
from maintenance.settings import Settings


def pause(options: argparse.Namespace, settings: Settings) -> Answer:
    """Turn the switch that every scheduler looks at; made in the ledger, which is installed if need be."""

    async def turned() -> str:
        async with connected(settings, name="maintenance pause") as connection:
            await Ledger(connection).install()
            return str(await switch.pause(connection, by=getpass.getuser(), reason=options.reason))

    told = asyncio.run(turned())
    return Answer(
        document={"paused": True}, show=lambda console: console.print(f"{told[0].upper()}{told[1:]}.", markup=False)
    )


def resume(options: argparse.Namespace, settings: Settings) -> Answer:
    """Turn it back."""

    async def turned() -> None:
        async with connected(settings, name="maintenance resume") as connection:
            await Ledger(connection).install()
            await switch.resume(connection)

    asyncio.run(turned())
    return Answer.saying({"paused": False}, "Runs may begin again.")
