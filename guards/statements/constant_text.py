"""Text that SQL puts together, as far as it is constant: literals, ||, format(), concat(), quoting."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from guards.statements.parse_tree import MISSING, constant, kind_of, strings

HOLE = "rowback_hole"  # stands for text that is only known when it runs
NAME = "rowback_name"  # for a name that is, and that is quoted
_FORMAT = re.compile(r"%(?:(\d+)\$)?-?\d*([sIL%])")
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*$")


def folded_text(node: Any) -> str | None:
    """The text of an expression with holes, or None when nothing of it is constant."""
    value = constant(node)
    if value is not MISSING:
        return "" if value is None else str(value)
    kind, fields = kind_of(node)
    if kind == "A_Expr" and strings(fields["name"]) == ["||"]:
        return f"{_or_hole(fields['lexpr'])}{_or_hole(fields['rexpr'])}"
    if kind == "FuncCall" and (fold := _FUNCTIONS.get(strings(fields["funcname"])[-1])):
        return fold(fields.get("args", []))
    return None


def _or_hole(node: Any) -> str:
    folded = folded_text(node)
    return HOLE if folded is None else folded


def _format(arguments: Sequence[Any]) -> str | None:
    template, values = folded_text(arguments[0]) if arguments else None, arguments[1:]
    if template is None:
        return None
    after = 0  # the place of the next value that is not asked for by number

    def put(match: re.Match[str]) -> str:
        nonlocal after
        if match[2] == "%":
            return "%"
        place = int(match[1]) - 1 if match[1] else after
        after = place + 1
        argument = values[place : place + 1]
        return {"I": _identifier, "L": _quoted, "s": _raw}[match[2]](argument) if argument else HOLE

    return _FORMAT.sub(put, template)


def _raw(arguments: Sequence[Any]) -> str:
    return _or_hole(arguments[0])


def _identifier(arguments: Sequence[Any]) -> str:
    text = _or_hole(arguments[0])
    if HOLE in text:
        return NAME
    return text if _PLAIN.match(text) else '"' + text.replace('"', '""') + '"'


def _replace(arguments: Sequence[Any]) -> str | None:
    text, old, new = (*map(folded_text, arguments), None, None, None)[:3]
    return None if text is None or not old or new is None else text.replace(old, new)


def _chr(arguments: Sequence[Any]) -> str | None:
    code = constant(arguments[0])
    return chr(code) if isinstance(code, int) and 0 < code < 0x110000 else None


def _quoted(arguments: Sequence[Any]) -> str:
    text = _or_hole(arguments[0])
    return f"'{NAME}'" if HOLE in text else "'" + text.replace("'", "''") + "'"


_FUNCTIONS: Mapping[str, Callable[[Sequence[Any]], str | None]] = {
    "format": _format,
    "concat": lambda arguments: "".join(map(_or_hole, arguments)),
    "replace": _replace,
    "chr": _chr,
    "quote_ident": _identifier,
    "quote_literal": _quoted,
    "quote_nullable": _quoted,
}
