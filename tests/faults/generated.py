"""Generated policies and settings: valid ones about the tables of the state, and such with one thing broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import strategies as st

Document = dict[str, Any]


class Case(NamedTuple):
    """What a plan is asked for with."""

    policy: str
    environment: dict[str, str]
    broken: str | None
    """What was broken, which may still be right; None where nothing was."""


_INTERVALS = ("30 days", "1 day 12 hours", "18 months", "00:30", "1 year", "P30D", "0.5 days", "2 weeks")
_MOMENTS = {"visits": "at", "samples": "at", "logs": "at", "audits": "at", "children": "at", "twins": "at"}
_WHERES = ("id > 10", "id % 2 = 0 or id is null", "true", "exists (select from uses)", "id in (1, 2, 3)")
_RETENTION = st.sampled_from(list(_MOMENTS)).flatmap(
    lambda table: st.fixed_dictionaries(
        {"table": st.sampled_from([table, f"public.{table}"]), "column": st.just(_MOMENTS[table]),
         "keep": st.sampled_from(_INTERVALS)},
        optional={"where": st.sampled_from(_WHERES), "partitions": st.sampled_from(["drop", "rows"]),
                  "boundary": st.sampled_from(["rows", "leave"]), "allow_empty": st.booleans(),
                  "max_rows": st.integers(0, 10**6), "max_fraction": st.floats(0, 1), "ramp": st.integers(1, 10),
                  "archive": st.just("file:///tmp")},
    )
)  # fmt: skip
_DUPLICATES = st.sampled_from([
    {"tables": ["twins"], "key": ["key"], "newest": ["at", "id"]},
    {"tables": ["children"], "key": ["parent"], "newest": ["at"]},
    {"tables": ["visits", "samples"], "key": ["id"], "newest": ["at"]},
    {"tables": ["elsewhere"], "key": ["id"], "newest": ["at"]},
])  # fmt: skip
_ORPHANS = st.sampled_from([
    {"tables": ["children"], "column": "parent", "parent": "parents", "parent_column": "code"},
    {"tables": ["visits"], "column": "id", "parent": "parents", "parent_column": "id", "grace": "1 day",
     "age_column": "at"},
    {"tables": ["visits", "samples"], "column": "id", "parent": "gone", "parent_column": "id"},
])  # fmt: skip
_UNREFERENCED = st.sampled_from([
    {"table": "catalog", "column": "hash", "references": [{"table": "uses", "column": "hashes"}],
     "count_column": "uses"},
    {"table": "parents", "column": "code", "references": [{"table": "children", "column": "parent"}],
     "allow_empty_parent": True},
])  # fmt: skip
_VACUUM = st.fixed_dictionaries(
    {},
    optional={"tables": st.sampled_from([["*"], ["t*", "!twins"], ["public.*"]]), "dead_rows": st.integers(0, 10**9),
              "dead_fraction": st.floats(0, 1), "jobs": st.integers(1, 4), "truncate": st.booleans(),
              "buffer_usage_limit": st.sampled_from(["128kB", "16MB", "0"])},
)  # fmt: skip
_LAG = st.fixed_dictionaries(
    {},
    optional={"replay": st.sampled_from(["10 seconds", "1 min"]), "wal": st.sampled_from(["16MB", "1 GB"]),
              "waiting": st.integers(0, 100)},
)  # fmt: skip
_POLICIES = st.fixed_dictionaries(
    {},
    optional={
        "retention": st.lists(_RETENTION, max_size=3, unique_by=lambda rule: str(rule["table"]).split(".")[-1]),
        "duplicates": st.lists(_DUPLICATES, max_size=2, unique_by=str),
        "orphans": st.lists(_ORPHANS, max_size=1),
        "unreferenced": st.lists(_UNREFERENCED, max_size=2, unique_by=str),
        "vacuum": _VACUUM,
        "lag": _LAG,
    },
)
_ODD: tuple[Any, ...] = (
    "", " ", 0, -1, 2**70, 1.5, float("inf"), True, [], [[]], {}, "30 day", "-1 day", "0", "infinity", "nan",
    "soon", "a'b", 'a"b', "a;b", "a.b.c", "a\0b", "ä" * 70, "DROP", "id); drop table visits; --", "%s", "\u202e",
    "1 = 1; drop table visits", "id /* ", "pg_sleep(10)", "(select", "$1", "{table}", "ctid", "99999999999 years",
)  # fmt: skip
_DURATIONS = (
    "",
    "0s",
    "-1s",
    "1",
    "1x",
    "\u0661s",
    "1e3s",
    "9" * 400 + "s",
    "1h30m",
    "0.5ms",
    "100d",
    "forever",
    "1 s",
)
_SETTINGS: dict[str, tuple[str, ...]] = {
    "MAINTENANCE_BUDGET": _DURATIONS,
    "MAINTENANCE_LOCK_TIMEOUT": _DURATIONS,
    "MAINTENANCE_COUNT_TIMEOUT": _DURATIONS,
    "MAINTENANCE_CONNECT_TIMEOUT": _DURATIONS,
    "MAINTENANCE_LEDGER_KEEP": _DURATIONS,
    "MAINTENANCE_SLICES": ("0", "-1", "x", "99999", "\u0661", "7"),
    "MAINTENANCE_AUTH": ("entre", "ENTRA", "password"),
    "MAINTENANCE_ALLOW_PLAINTEXT": ("yes", "1", "0"),
    "MAINTENANCE_POLICY": ("/", "/nowhere/policy.toml", "/etc/shadow\n", "x" * 300),
    "MAINTENANCE_BUGDET": ("8m",),
    "MAINTENANCE_TARGETS": ("/nowhere.toml", "/"),
    "MAINTENANCE_HTTP_ALLOWED_PRINCIPALS": ("me", ","),
    "PGHOST": ("", "/nowhere", "user:secret@127.0.0.1", "postgres://127.0.0.1/x", "127.0.0.1,127.0.0.1", "127.0.0.1 "),
    "PGPORT": ("", "0", "65536", "five", "5432,5433", "-1", "1"),
    "PGDATABASE": ("nowhere", "postgres://x/y", "ä" * 100),
    "PGUSER": ("nobody", "x" * 100, "a\tb"),
    "PGPASSWORD": ("wrong", "ä"),
    "PGPASSFILE": ("/nowhere", "/"),
    "PGSSLMODE": ("verify-full", "require", "sometimes", "disable"),
    "PGSSLROOTCERT": ("/nowhere", "/etc/passwd", "system"),
    "PGTARGETSESSIONATTRS": ("read-only", "standby", "whatever", "any"),
    "PGSSLCERT": ("/nowhere",),
    "PGSSLMINPROTOCOLVERSION": ("TLSv9", "TLSv1.2"),
    "PGOPTIONS": ("-c nothing=1", "--x"),
    "PGKRBSRVNAME": ("x",),
}


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Half of them with one thing broken, in the policy or in the settings."""
    document = draw(_POLICIES)
    if draw(st.booleans()):
        return Case(_written(document), {}, None)
    breaker: Callable[[st.DrawFn, Document], Case] = draw(
        st.sampled_from([_value, _value, _key, _missing, _twice, _characters, _bracket, _setting, _setting])
    )
    return breaker(draw, document)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a document and every key in it."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, one in list(inner) for place in [(value, key), *_places(one)]]


def _at(place: tuple[Any, Any]) -> Any:
    container, key = place
    return container.get(key) if isinstance(container, dict) else container[key]


def _copied(document: Document) -> Document:
    copied: Document = json.loads(json.dumps(document))
    return copied


def _value(draw: st.DrawFn, document: Document) -> Case:
    document = _copied(document)
    places = _places(document) or [(document, "retention")]
    leaves = [place for place in places if not isinstance(_at(place), dict | list)]
    container, key = draw(st.sampled_from(leaves or places) | st.sampled_from(places))
    container[key] = draw(st.sampled_from(_ODD) | st.text(max_size=20))
    return Case(_written(document), {}, f"value of {key}")


def _key(draw: st.DrawFn, document: Document) -> Case:
    document = _copied(document)
    mappings = [container for container, _ in _places(document) if isinstance(container, dict)] or [document]
    key = draw(
        st.sampled_from(["kep", "wher", "tabel", "", "a b", "ä", "retentoin", "allow_emtpy"]) | st.text(max_size=9)
    )
    draw(st.sampled_from(mappings))[key] = draw(st.sampled_from(_ODD))
    return Case(_written(document), {}, f"unknown key {key!r}")


def _missing(draw: st.DrawFn, document: Document) -> Case:
    document = _copied(document)
    container, key = draw(st.sampled_from(_places(document) or [({0: 0}, 0)]))
    del container[key]
    return Case(_written(document), {}, f"{key} left out")


def _twice(draw: st.DrawFn, document: Document) -> Case:
    document = _copied(document)
    lists = [one for one in document.values() if isinstance(one, list) and one] or [[]]
    rules = draw(st.sampled_from(lists))
    rules += rules[:1]
    return Case(_written(document), {}, "a rule twice")


def _characters(draw: st.DrawFn, document: Document) -> Case:
    text = _written(document)
    at = draw(st.integers(0, len(text)))
    cut = draw(st.integers(0, 3))
    put = draw(
        st.sampled_from(["", '"', "[", "]", "=", "\n", "\r", "\0", "#", "'''", "\ufeff", "{", "\x7f"])
        | st.text(max_size=3)
    )
    return Case(text[:at] + put + text[at + cut :], {}, f"characters at {at}")


def _bracket(draw: st.DrawFn, document: Document) -> Case:
    swap: Callable[[str], str] = draw(
        st.sampled_from([lambda text: text.replace("[[", "[").replace("]]\n", "]\n"), lambda text: text + text])
    )
    return Case(swap(_written(document)), {}, "brackets, or all twice")


def _setting(draw: st.DrawFn, document: Document) -> Case:
    name = draw(st.sampled_from(list(_SETTINGS)))
    return Case(_written(document), {name: draw(st.sampled_from(_SETTINGS[name]))}, name)


def _written(document: Document) -> str:
    """As TOML; what TOML has no word for becomes one that it does not know."""
    lines = []
    for name, rules in document.items():
        if isinstance(rules, list) and rules and all(isinstance(rule, dict) for rule in rules):
            for rule in rules:
                lines += [f"[[{_told(name)}]]", *(f"{_told(key)} = {_toml(value)}" for key, value in rule.items())]
        elif isinstance(rules, dict) and rules:
            lines += [f"[{_told(name)}]", *(f"{_told(key)} = {_toml(value)}" for key, value in rules.items())]
        else:
            lines.insert(0, f"{_told(name)} = {_toml(rules)}")
    return "\n".join(lines) + "\n"


def _told(key: object) -> str:
    text = str(key)
    return text if text.isascii() and text.replace("_", "").isalnum() else json.dumps(text)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_told(key)} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        return {"inf": "inf", "nan": "nan"}.get(str(value), repr(value))
    return "null" if value is None else json.dumps(value, ensure_ascii=False)
