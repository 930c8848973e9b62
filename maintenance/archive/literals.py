"""Literals: COPY takes no values beside its text, so a statement's $n become what the server itself makes of them."""

from __future__ import annotations

import re

from asyncpg import Connection

from maintenance.database import fetch_one
from maintenance.names import Fragment, listed, quoted
from maintenance.sql import statement

_LEXEMES = re.compile(
    r"""
    [eE]'(?:[^'\\]|''|\\.)*'                            # a string with escapes
    | '(?:[^']|'')*'                                    # a string
    | "(?:[^"]|"")*"                                    # a quoted name
    | (?<![\w$]) \$ (?P<tag>(?:[^\W\d]\w*)?) \$ .*? \$(?P=tag)\$   # a string between dollars
    | --[^\n]*
    | /\*.*?\*/
    | [^\W\d][\w$]*                                     # a bare name, which may have a dollar in it
    | \$(?P<number>\d+)
    """,
    re.VERBOSE | re.DOTALL,
)
"""What a $n may hide in, and the $n. https://www.postgresql.org/docs/current/sql-syntax-lexical.html"""


async def inlined(connection: Connection, sql: str, values: tuple[object, ...]) -> str:
    """The statement with its values in it, quoted by the server as the types that it takes them for."""
    parameters = (await connection.prepare(sql)).get_parameters()
    if not parameters:
        return sql
    types = [
        # The driver knows an array by its elements, the server by a name of its own.
        f"{quoted(p.schema)}.{quoted('_' + p.name[:-2] if p.name.endswith('[]') else p.name)}"
        for p in parameters
    ]
    words = [Fragment(f"quote_nullable(${n}::{type_}::text)") for n, type_ in enumerate(types, 1)]
    row = await fetch_one(connection, statement("archive", "literals", literals=listed(words)), *values)
    texts = [f"({text}::{type_})" for text, type_ in zip(row, types, strict=True)]

    def replaced(match: re.Match[str]) -> str:
        number = match["number"]
        return match[0] if number is None else texts[int(number) - 1]

    return _LEXEMES.sub(replaced, sql)
