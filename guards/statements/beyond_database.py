"""Statements that reach beyond the database of their session: other databases, roles, the server, other servers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from guards.connection_words import conninfo_value
from guards.statements.command_tags import tag_of
from guards.statements.danger import Danger, Finding, Reach
from guards.statements.parse_tree import MISSING, Node, children, constant, kind_of, own_name, strings

ENDS_SESSIONS = ("pg_terminate_backend", "pg_cancel_backend")
_SETTINGS_OF_A_SERVER = ("host", "hostaddr", "port", "dbname", "service")


def shared_finding(kind: str, fields: Node) -> list[Finding] | None:
    """What a statement does to objects that all databases share; None for any other."""
    rule = _RULES.get(kind)
    return list(rule(kind, fields)) if rule else _by_object_type(kind, fields)


def _by_object_type(kind: str, fields: Node) -> list[Finding] | None:
    """RENAME, OWNER TO, COMMENT, GRANT …: which kind of thing they are about stands beside."""
    about = next((fields[key] for key in ("renameType", "objectType", "objtype") if key in fields), "")
    reach = {
        "OBJECT_DATABASE": Reach.DATABASE,
        "OBJECT_ROLE": Reach.ROLE,
        "OBJECT_TABLESPACE": Reach.SERVER,
        "OBJECT_PARAMETER_ACL": Reach.SERVER,
    }.get(about)
    if reach is None or kind not in ("RenameStmt", "AlterOwnerStmt", "CommentStmt", "SecLabelStmt", "GrantStmt"):
        return None
    named = fields.get("subname") or strings(fields.get("objects") or [fields.get("object", {})])
    objects = (named,) if isinstance(named, str) else tuple(named)
    return [Finding(Danger.WRITE, tag_of(kind, fields), objects, reach=reach)]


def _database(danger: Danger, reach: Reach) -> Any:
    def rule(kind: str, fields: Node) -> Iterator[Finding]:
        verb = "DROP DATABASE" if kind == "DropdbStmt" else tag_of(kind, fields)
        yield Finding(danger, verb, (str(fields["dbname"]),), reach=reach)

    return rule


def _roles(verb: str, danger: Danger, key: str, reach: Reach = Reach.ROLE) -> Any:
    def rule(kind: str, fields: Node) -> Iterator[Finding]:
        roles = fields.get(key, [])
        named = tuple(_role(each) for each in (roles if isinstance(roles, list) else [roles]))
        yield Finding(danger, verb, named, fields.get("behavior") == "DROP_CASCADE", reach=reach)

    return rule


def _granted_roles(kind: str, fields: Node) -> Iterator[Finding]:
    granted = [str(kind_of(each)[1].get("priv_name", "")) for each in fields.get("granted_roles", [])]
    named = (*granted, *map(_role, fields.get("grantee_roles", [])))
    yield Finding(Danger.WRITE, tag_of(kind, fields), named, reach=Reach.ROLE)


def _role(spec: Any) -> str:
    if isinstance(spec, str):
        return spec
    fields = spec.get("RoleSpec", spec)
    return str(fields.get("rolename") or fields.get("roletype", "").removeprefix("ROLESPEC_").lower())


def _of_the_server(verb: str, danger: Danger, *named_by: str) -> Any:
    def rule(kind: str, fields: Node) -> Iterator[Finding]:
        objects = tuple(str(fields[key]) for key in named_by if key in fields)
        why = "" if objects else "the whole server"
        yield Finding(danger, verb, objects, why=why, reach=Reach.SERVER)

    return rule


def _foreign_server(kind: str, fields: Node) -> Iterator[Finding]:
    options = [option for _, option in map(kind_of, fields.get("options", []))]
    named = [(str(o.get("defname")), constant_text(o.get("arg", {}))) for o in options]
    ways = " ".join(f"{key}={conninfo_value(value)}" for key, value in named if key in _SETTINGS_OF_A_SERVER)
    reach = Reach.ELSEWHERE if ways or kind == "CreateForeignServerStmt" else None
    yield Finding(Danger.WRITE, tag_of(kind, fields), (str(fields["servername"]),), reach=reach, conninfo=ways)


def _subscription(kind: str, fields: Node) -> Iterator[Finding]:
    """It makes, moves or drops a slot on the publisher."""
    danger = Danger.DESTRUCTIVE if kind == "DropSubscriptionStmt" else Danger.WRITE
    conninfo = str(fields.get("conninfo", ""))
    yield Finding(danger, tag_of(kind, fields), (str(fields["subname"]),), reach=Reach.ELSEWHERE, conninfo=conninfo)


def constant_text(node: Any) -> str:
    """The text of an option's constant."""
    value = next((part for part in kind_of(node)[1].values()), "") if node else ""
    return str(value)


def sessions_ended(select: Node) -> tuple[str, ...]:
    """The databases whose sessions alone a SELECT ends.

    It calls the function on what it shows of pg_stat_activity, and of nothing else, `where datname = 'x' and …`. Empty
    for every other shape, in which the server may call it first.
    """
    names: list[str] = []
    if not _ends_what_it_shows(select):
        return ()
    for kind, condition in map(kind_of, _conjuncts(select.get("whereClause"))):
        if kind == "A_Expr" and strings(condition.get("name", [])) == ["="]:
            names += _compared_with_datname(condition)
    return tuple(names)


def _ends_what_it_shows(select: Node) -> bool:
    sources = select.get("fromClause", [])
    if len(sources) != 1 or own_name(sources[0]) != "pg_stat_activity":
        return False
    shown = [kind_of(target)[1].get("val", {}) for target in select.get("targetList", [])]
    calls = [fields for kind, fields in map(kind_of, shown) if kind == "FuncCall" and _ends_its_row(fields)]
    return len(calls) == sum(name in ENDS_SESSIONS for name in _called(select))


def _ends_its_row(call: Node) -> bool:
    """Whether it ends the session of the row that it is called for: its argument is the column itself."""
    kind, argument = kind_of((call.get("args") or [{}])[0])
    return _name_of(call) in ENDS_SESSIONS and kind == "ColumnRef" and strings(argument["fields"])[-1:] == ["pid"]


def _called(node: Any) -> Iterator[str]:
    """The functions that are called anywhere below."""
    kind, fields = kind_of(node)
    if kind == "FuncCall":
        yield _name_of(fields)
    for child in children(fields if kind else node):
        yield from _called(child)


def _name_of(call: Node) -> str:
    return strings(call["funcname"])[-1]


def _compared_with_datname(condition: Node) -> list[str]:
    """The databases of `datname = 'x'`, `datname in ('x', 'y')` and `datname = any(array['x', 'y'])`.

    None of them where one is not known: an array's literal is no name.
    """
    left, right = condition.get("lexpr", {}), condition.get("rexpr", {})
    if condition.get("kind") == "AEXPR_OP" and _is_datname(right):
        left, right = right, left
    if not _is_datname(left):
        return []
    match condition.get("kind"):
        case "AEXPR_OP":
            values = [right]
        case "AEXPR_IN":
            values = kind_of(right)[1].get("items", [])
        case "AEXPR_OP_ANY":
            array = right.get("TypeCast", {}).get("arg", right)
            values = kind_of(array)[1].get("elements", []) if kind_of(array)[0] == "A_ArrayExpr" else []
        case _:
            return []
    named = [CURRENT if _is_current_database(value) else constant(value) for value in values]
    return [] if MISSING in named else [as_name(str(name)) for name in named]


def as_name(text: str) -> str:
    """A text as PostgreSQL compares it with a name: cut at 63 bytes."""
    return text.encode("utf-8", "replace")[:63].decode("utf-8", "ignore")


CURRENT = ""  # stands for the database of the session


def _conjuncts(condition: Any) -> list[Any]:
    kind, fields = kind_of(condition or {})
    if kind == "BoolExpr" and fields.get("boolop") == "AND_EXPR":
        return [each for part in fields["args"] for each in _conjuncts(part)]
    return [condition] if condition else []


def _is_datname(node: Any) -> bool:
    kind, fields = kind_of(node)
    return kind == "ColumnRef" and strings(fields.get("fields", []))[-1:] == ["datname"]


def _is_current_database(node: Any) -> bool:
    kind, fields = kind_of(node)
    name: Sequence[str] = strings(fields.get("funcname", [])) if kind == "FuncCall" else []
    return list(name[-1:]) == ["current_database"] or kind == "SQLValueFunction" and "CATALOG" in str(fields.get("op"))


_RULES: Mapping[str, Any] = {
    "DropdbStmt": _database(Danger.CATASTROPHIC, Reach.DATABASE),
    "CreatedbStmt": _database(Danger.WRITE, Reach.NEW_DATABASE),
    "AlterDatabaseStmt": _database(Danger.WRITE, Reach.DATABASE),
    "AlterDatabaseRefreshCollStmt": _database(Danger.WRITE, Reach.DATABASE),
    "DropRoleStmt": _roles("DROP ROLE", Danger.DESTRUCTIVE, "roles"),
    "AlterRoleStmt": _roles("ALTER ROLE", Danger.WRITE, "role"),
    "CreateRoleStmt": _roles("CREATE ROLE", Danger.WRITE, "role", Reach.NEW_ROLE),
    "DropOwnedStmt": _roles("DROP OWNED", Danger.CATASTROPHIC, "roles"),
    "ReassignOwnedStmt": _roles("REASSIGN OWNED", Danger.WRITE, "roles"),
    "GrantRoleStmt": _granted_roles,
    "AlterSystemStmt": _of_the_server("ALTER SYSTEM", Danger.DESTRUCTIVE),
    "CreateSubscriptionStmt": _subscription,
    "AlterSubscriptionStmt": _subscription,
    "DropSubscriptionStmt": _subscription,
    "CreateTableSpaceStmt": _of_the_server("CREATE TABLESPACE", Danger.WRITE, "tablespacename"),
    "DropTableSpaceStmt": _of_the_server("DROP TABLESPACE", Danger.CATASTROPHIC, "tablespacename"),
    "AlterTableSpaceOptionsStmt": _of_the_server("ALTER TABLESPACE", Danger.WRITE, "tablespacename"),
    "CreateForeignServerStmt": _foreign_server,
    "AlterForeignServerStmt": _foreign_server,
}
