"""Text that SQL puts together, as far as it is constant: literals, ||, format(), concat(), quoting."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from guards.statements.tree import MISSING, constant, kind_of, strings

HOLE = "rowback_hole"  # stands for a name that is only known when it runs
_FORMAT = re.compile(r"%(?:\d+\$)?-?\d*([sIL%])")


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
    found = folded_text(node)
    return HOLE if found is None else found


def _format(arguments: Sequence[Any]) -> str | None:
    template, values = folded_text(arguments[0]) if arguments else None, iter(arguments[1:])
    if template is None:
        return None

    def put(found: re.Match[str]) -> str:
        if found[1] == "%":
            return "%"
        given = next(values, None)
        text = _or_hole(given) if given is not None else HOLE
        return f"'{text}'" if found[1] == "L" else text

    return _FORMAT.sub(put, template)


def _replace(arguments: Sequence[Any]) -> str | None:
    text, old, new = (*map(folded_text, arguments), None, None, None)[:3]
    return None if text is None or not old or new is None else text.replace(old, new)


def _chr(arguments: Sequence[Any]) -> str | None:
    code = constant(arguments[0])
    return chr(code) if isinstance(code, int) and 0 < code < 0x110000 else None


def _same(arguments: Sequence[Any]) -> str | None:
    return _or_hole(arguments[0])


def _quoted(arguments: Sequence[Any]) -> str | None:
    return f"'{_or_hole(arguments[0])}'"


_FUNCTIONS: Mapping[str, Callable[[Sequence[Any]], str | None]] = {
    "format": _format, "concat": lambda arguments: "".join(map(_or_hole, arguments)), "replace": _replace,
    "chr": _chr, "quote_ident": _same, "upper": _same, "lower": _same, "btrim": _same, "quote_literal": _quoted,
    "quote_nullable": _quoted,
}  # fmt: skip
