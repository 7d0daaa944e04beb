"""Small questions about libpg_query's trees: names, constants."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

Node: TypeAlias = Mapping[str, Any]
MISSING = object()
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


def kind_of(node: Any) -> tuple[str, Node]:
    """A tagged node's tag and fields: {"DeleteStmt": {…}}. ("", {}) for anything else."""
    if type(node) is dict and len(node) == 1:  # pgparse gives plain ones, and this is asked for every node
        ((kind, fields),) = node.items()
        if type(fields) is dict and kind[:1].isupper():
            return kind, fields
    return "", {}


def children(fields: Any) -> Iterator[Any]:
    """Everything directly below."""
    if isinstance(fields, dict):
        yield from fields.values()
    elif isinstance(fields, list):
        yield from fields


def strings(names: Sequence[Node]) -> list[str]:
    """The parts of a qualified name."""
    return [str(fields.get("sval", "*")) for _, fields in map(kind_of, names)]


def table(range_var: Node) -> str:
    """A RangeVar as it can be written: see `dotted`."""
    fields = range_var.get("RangeVar", range_var)
    return dotted([str(fields[part]) for part in ("catalogname", "schemaname", "relname") if fields.get(part)])


def own_name(range_var: Node) -> str:
    """A RangeVar's own name without its schema, as PostgreSQL stores it."""
    return str(range_var.get("RangeVar", range_var)["relname"])


def dotted(parts: Sequence[str]) -> str:
    """The parts of a name joined by dots, each in double quotes where PostgreSQL would need them but for key words."""
    return ".".join(part if _PLAIN.fullmatch(part) else '"' + part.replace('"', '""') + '"' for part in parts)


def is_temporary(range_var: Node, temporary_names: frozenset[str] = frozenset()) -> bool:
    """Whether it names a table of this session: by its schema, or made as one before in the same text."""
    fields = range_var.get("RangeVar", range_var)
    schema = str(fields.get("schemaname", ""))
    return schema == "pg_temp" or (
        not schema and fields.get("relname") in temporary_names
    )  # pg_temp_3 may be another's


def constant(node: Any) -> Any:
    """The value of a constant expression, or MISSING. Casts of constants count as their text."""
    kind, fields = kind_of(node)
    match kind:
        case "A_Const":
            if fields.get("isnull"):
                return None
            for name, key in (("boolval", "boolval"), ("ival", "ival"), ("sval", "sval"), ("fval", "fval")):
                if name in fields:
                    default: Any = {"boolval": False, "ival": 0}.get(name, "")
                    return fields[name].get(key, default)
            return MISSING
        case "TypeCast":
            return constant(fields.get("arg"))
        case _:
            return MISSING
