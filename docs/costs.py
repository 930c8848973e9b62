"""Prints the tables of docs/costs.md from docs/costs.json, where you may put in your own prices and amounts."""

from __future__ import annotations

import ast
import json
import operator
from pathlib import Path
from typing import Any

_OPERATORS: dict[type[ast.operator], Any] = {ast.Add: operator.add, ast.Mult: operator.mul, ast.Div: operator.truediv}


def amount(text: str, names: dict[str, float]) -> float:
    """The value of a sum of products of numbers and names."""

    def value(node: ast.expr) -> float:
        match node:
            case ast.Constant(value=int() | float() as number):
                return number
            case ast.Name(id=name):
                return names[name]
            case ast.BinOp(left=left, op=op, right=right):
                return float(_OPERATORS[type(op)](value(left), value(right)))
        raise ValueError(f"{text!r} is not a sum or product of numbers and {sorted(names)}.")

    return value(ast.parse(text, mode="eval").body)


def lines(
    costs: dict[str, Any], part: str, names: dict[str, float]
) -> tuple[list[str], dict[str, tuple[float, float]]]:
    """A line for each way and its items; and each way's sum, before and after what is free."""
    shown = [
        "| What | Computed as | Amount | List price | After the free grant | Why |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    sums = {}
    for way, items in costs[part].items():
        full = due = 0.0
        below = []
        for item in items:
            price = costs["prices"][item["price"]]
            used = amount(item["amount"], names)
            listed, billed = used * price["usd"], max(0.0, used - price["free"]) * price["usd"]
            full, due = full + listed, due + billed
            cells = (f"{used:,.6g} {price['unit']}", f"${listed:.2f}", f"${billed:.2f}", item["why"])
            below.append(f"| {price['what']} | `{item['amount']}` | {' | '.join(cells)} |")
        shown += [f"| **{way}** | | | **${full:.2f}** | **${due:.2f}** | |", *below]
        sums[way] = (full, due)
    return shown, sums


def summary(
    costs: dict[str, Any], ways: dict[str, tuple[float, float]], besides: dict[str, tuple[float, float]]
) -> str:
    """The sums of the ways, and what a private network adds."""
    shown = [
        "| Way | List price | After free grants | A private network adds |",
        "| --- | ---: | ---: | ---: |",
    ]
    for way, (full, due) in ways.items():
        network = costs["in_a_network"][way]
        more = f"${besides[network][1]:.2f}" if network in besides else network
        shown.append(f"| {way} | ${full:.2f} | ${due:.2f} | {more} |")
    return "\n".join(shown)


def page(costs: dict[str, Any]) -> dict[str, str]:
    """The tables by their name."""
    use = costs["use"]
    names = {
        **use,
        "runs": use["daily_runs"] + use["weekly_runs"],
        "seconds": use["daily_runs"] * use["daily_seconds"] + use["weekly_runs"] * use["weekly_seconds"],
    }
    prices = ["| Item | Price | Free each month | Source |", "| --- | ---: | ---: | --- |"]
    for price in costs["prices"].values():
        free = f"{price['free']:,} {price['unit']}" if price["free"] else "none"
        usd = f"{price['usd']:.7f}".rstrip("0")
        usd = f"{price['usd']:.2f}" if len(usd.partition(".")[2]) < 2 else usd
        prices.append(f"| {price['what']} | ${usd} per {price['unit']} | {free} | <{price['source']}> |")
    ways, besides = lines(costs, "ways", names), lines(costs, "besides", names)
    runs = f"{names['runs']} runs with {names['seconds']:,} seconds in a month"
    return {
        "head": f"{runs}; prices of {costs['region']} as of {costs['as_of']}.",
        "summary": summary(costs, ways[1], besides[1]),
        "ways": "\n".join(ways[0]),
        "besides": "\n".join(besides[0]),
        "prices": "\n".join(prices),
    }


if __name__ == "__main__":
    read = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    print("\n\n".join(page(read).values()))
