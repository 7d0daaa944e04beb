"""Conditions that let every row pass, or that do not ask the row at all."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from guards.statements.tree import MISSING, Node, bare, children, constant, kind_of, strings, table

Tables = Sequence[str]
TRUE, FALSE = (True, "t", "true", "on", "yes", "1", "y"), (False, "f", "false", "off", "no", "0", "n")
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "<>": operator.ne, "!=": operator.ne,
    "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge,
}  # fmt: skip


def always_true(node: Any, tables: Tables = ()) -> bool:
    """Whether a WHERE lets every row pass (rows with nulls aside). `tables`: what the statement changes."""
    kind, fields = kind_of(node)
    if node is None:
        return True
    if kind != "CurrentOfExpr" and not _mentions_rows(node):
        # Whatever it says, it says the same of every row: all of them or none.
        return not always_false(node)
    rule = _RULES.get(kind)
    return rule is not None and rule(fields, tables)


def always_false(node: Any) -> bool:
    """Whether no row passes, as far as constants say."""
    kind, fields = kind_of(node)
    if kind == "A_Expr":
        return _compared(fields) is False
    return kind in ("A_Const", "TypeCast") and constant(node) in FALSE


def _mentions_rows(node: Any) -> bool:
    kind, fields = kind_of(node)
    if kind in ("ColumnRef", "RangeVar"):
        return True
    return any(_mentions_rows(child) for child in children(fields if kind else node) if isinstance(child, dict | list))


def _boolean(fields: Node, tables: Tables) -> bool:
    arguments = fields["args"]
    match fields["boolop"]:
        case "NOT_EXPR":
            return always_false(arguments[0])
        case "AND_EXPR":
            return all(always_true(argument, tables) for argument in arguments)
        case _:
            return any(always_true(argument, tables) for argument in arguments) or _exhaustive(arguments)


def _exhaustive(arguments: Sequence[Any]) -> bool:
    """`x is null or x is not null`."""
    tests = [fields for kind, fields in map(kind_of, arguments) if kind == "NullTest"]
    return any(
        bare(a["arg"]) == bare(b["arg"]) and a["nulltesttype"] != b["nulltesttype"] for a in tests for b in tests
    )


def _expression(fields: Node, tables: Tables) -> bool:
    left, right = fields.get("lexpr"), fields.get("rexpr")
    name = strings(fields["name"])[-1]
    if fields.get("kind") in ("AEXPR_LIKE", "AEXPR_ILIKE"):
        pattern = constant(right)
        return name in ("~~", "~~*") and isinstance(pattern, str) and pattern != "" and not pattern.strip("%")
    if kind_of(left)[0] == "ColumnRef" and bare(left) == bare(right):
        return name in ("=", "<=", ">=")
    return _compared(fields) is True


def _compared(fields: Node) -> bool | None:
    """The outcome of comparing two constants; None where it is not known."""
    a, b = constant(fields.get("lexpr")), constant(fields.get("rexpr"))
    compare = _ORDER.get(strings(fields["name"])[-1])
    if fields.get("kind") != "AEXPR_OP" or compare is None or MISSING in (a, b) or None in (a, b):
        return None
    return compare(a, b) if type(a) is type(b) else None


def _subquery(fields: Node, tables: Tables) -> bool:
    """EXISTS (SELECT 1) and `id IN (SELECT id FROM the_same_table)`."""
    _, select = kind_of(fields["subselect"])
    if fields["subLinkType"] == "EXISTS_SUBLINK":
        return not select.get("fromClause") and always_true(select.get("whereClause"))
    same = [table(source) for source in select.get("fromClause", ()) if "RangeVar" in source]
    whole = len(same) == 1 and same[0] in tables and always_true(select.get("whereClause"), tables)
    limited = any(select.get(part) for part in ("limitCount", "limitOffset", "havingClause", "groupClause", "larg"))
    equal = strings(fields.get("operName", [])) in ([], ["="])
    return fields["subLinkType"] == "ANY_SUBLINK" and equal and whole and not limited


_RULES: Mapping[str, Callable[[Node, Tables], bool]] = {
    "BoolExpr": _boolean,
    "A_Expr": _expression,
    "SubLink": _subquery,
    "BooleanTest": lambda fields, tables: (
        fields["booltesttype"] in ("IS_TRUE", "IS_NOT_FALSE") and always_true(fields["arg"], tables)
    ),
    "CoalesceExpr": lambda fields, tables: always_true(fields["args"][0], tables),
}
