"""Conditions that let every row pass, or that do not ask the row at all."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from guards.statements.parse_tree import MISSING, Node, children, constant, kind_of, own_name, strings

Tables = Sequence[str]
FALSE = (False, "f", "false", "off", "no", "0", "n")
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


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
            return always_false(arguments[0]) or _never(arguments[0], tables)
        case "AND_EXPR":
            return all(always_true(argument, tables) for argument in arguments)
        case _:
            return any(always_true(argument, tables) for argument in arguments) or _exhaustive(arguments, tables)


def _exhaustive(arguments: Sequence[Any], tables: Tables) -> bool:
    """`x is null or x is not null`."""
    compared = [fields for kind, fields in map(kind_of, arguments) if kind == "A_Expr"]
    if any(_complementary(a, b, tables) for a in compared for b in compared):
        return True
    tests = [fields for kind, fields in map(kind_of, arguments) if kind == "NullTest"]
    return any(
        _same(a["arg"], tables) == _same(b["arg"], tables) and a["nulltesttype"] != b["nulltesttype"]
        for a in tests
        for b in tests
    )


def _complementary(a: Node, b: Node, tables: Tables) -> bool:
    """`x = 1 or x <> 1`."""
    names = (strings(a["name"])[-1], strings(b["name"])[-1])
    sides = [(_same(f.get("lexpr"), tables), _same(f.get("rexpr"), tables), f.get("kind")) for f in (a, b)]
    return names in (("=", "<>"), ("=", "!="), ("<", ">="), (">", "<=")) and sides[0] == sides[1]


def _never(node: Any, tables: Tables) -> bool:
    """`x <> x`."""
    kind, fields = kind_of(node)
    left, right = _same(fields.get("lexpr"), tables), _same(fields.get("rexpr"), tables)
    return kind == "A_Expr" and strings(fields["name"])[-1] in ("<>", "!=", "<", ">") and left == right


def _same(node: Any, tables: Tables) -> Any:
    """A tree without places, and with columns of the changed table by their own name: t.id and id are the same."""
    if isinstance(node, dict):
        if "ColumnRef" in node:
            *qualifier, name = strings(node["ColumnRef"]["fields"])
            own = not qualifier or qualifier[-1] in tables
            return name if own else (*qualifier, name)
        return {key: _same(value, tables) for key, value in node.items() if key != "location"}
    return [_same(value, tables) for value in node] if isinstance(node, list) else node


def _expression(fields: Node, tables: Tables) -> bool:
    left, right = fields.get("lexpr"), fields.get("rexpr")
    name = strings(fields["name"])[-1]
    if fields.get("kind") in ("AEXPR_LIKE", "AEXPR_ILIKE"):
        pattern = constant(right)
        return name in ("~~", "~~*") and isinstance(pattern, str) and pattern != "" and not pattern.strip("%")
    if left is not None and _mentions_rows(left):
        if fields.get("kind") == "AEXPR_IN":
            return name == "=" and any(_same(item, tables) == _same(left, tables) for item in _items(right))
        if fields.get("kind") == "AEXPR_OP_ANY":
            return name == "=" and any(
                kind == "SubLink" and _subquery({**inner, "subLinkType": "ANY_SUBLINK"}, tables)
                for kind, inner in [kind_of(right)]
            )
        if _same(left, tables) == _same(right, tables):
            return name in ("=", "<=", ">=")
    return _compared(fields) is True


def _items(node: Any) -> list[Any]:
    kind, fields = kind_of(node)
    return list(fields["items"]) if kind == "List" else []


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
    if fields["subLinkType"] == "EXISTS_SUBLINK":  # without a condition it says the same of every row
        return always_true(select.get("whereClause"))
    same = [own_name(source) for source in select.get("fromClause", ()) if "RangeVar" in source]
    whole = len(same) == 1 and same[0] in tables and always_true(select.get("whereClause"), tables)
    count = select.get("limitCount")
    limited = (count is not None and constant(count) is not None) or any(
        select.get(part) for part in ("havingClause", "larg")
    )
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
