"""What each kind of statement does. A kind that is not listed here writes: better refused once than missed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from guards.statements.beyond_database import shared_finding
from guards.statements.command_tags import named_in, tag_of
from guards.statements.conditions import always_true
from guards.statements.danger import Danger, Finding, Reach
from guards.statements.parse_tree import Node, dotted, is_temporary, kind_of, own_name, strings, table

Temporary = frozenset[str]
Rule = Callable[[Node, Temporary], Iterator[Finding]]

READS = frozenset(
    {
        "SelectStmt",
        "VariableShowStmt",
        "ExplainStmt",
        "PrepareStmt",
        "DeallocateStmt",
        "DeclareCursorStmt",
        "FetchStmt",
        "ClosePortalStmt",
        "ListenStmt",
        "UnlistenStmt",
        "ConstraintsSetStmt",
        "PLAssignStmt",
        "RawStmt",
        "ReturnStmt",
    }
)


def statement_finding(kind: str, fields: Node, temporary: Temporary) -> list[Finding]:
    """What one statement does by itself, without what runs inside it."""
    if (reaching := shared_finding(kind, fields)) is not None:
        return reaching
    if rule := RULES.get(kind):
        return list(rule(fields, temporary))
    if kind in READS:
        return []
    return [Finding(Danger.WRITE, tag_of(kind, fields), named_in(fields))]


def _select(fields: Node, temporary: Temporary) -> Iterator[Finding]:
    if "intoClause" in fields:
        yield Finding(Danger.WRITE, "SELECT INTO", (table(fields["intoClause"]["rel"]),))


def _truncate(fields: Node, temporary: Temporary) -> Iterator[Finding]:
    tables = [each for each in fields["relations"] if not is_temporary(each, temporary)]
    if tables:
        cascade = fields.get("behavior") == "DROP_CASCADE"
        yield Finding(Danger.DESTRUCTIVE, "TRUNCATE", tuple(map(table, tables)), cascade)


def _delete_or_update(verb: str) -> Rule:
    def rule(fields: Node, temporary: Temporary) -> Iterator[Finding]:
        target = fields["relation"]
        if target.get("relname") in temporary and is_temporary(target, temporary):
            return
        name = table(target)
        if is_temporary(target):  # by its schema alone: it may be a view of a table that is not temporary
            yield Finding(Danger.WRITE, verb, (name,))
        elif own_name(target).startswith("pg_") or name.startswith(("pg_catalog.", "information_schema.")):
            yield Finding(Danger.CATASTROPHIC, verb, (name,), why="a system catalog", reach=_of_catalog(target))
        elif always_true(fields.get("whereClause"), _names_of(target)):
            why = "its WHERE lets every row pass" if "whereClause" in fields else "without WHERE"
            yield Finding(Danger.DESTRUCTIVE, verb, (name,), why=why)
        else:
            yield Finding(Danger.WRITE, verb, (name,))

    return rule


def _names_of(target: Node) -> list[str]:
    """By which its columns may be qualified."""
    return [own_name(target), *(str(alias["aliasname"]) for alias in [target.get("alias")] if alias)]


# Catalogs that all databases of a server share.
_SHARED = frozenset(
    {
        "pg_database",
        "pg_authid",
        "pg_auth_members",
        "pg_shdescription",
        "pg_shseclabel",
        "pg_shdepend",
        "pg_tablespace",
        "pg_db_role_setting",
        "pg_replication_origin",
        "pg_subscription",
        "pg_parameter_acl",
        "pg_roles",
        "pg_shadow",
        "pg_user",
    }
)


# Where tables of other servers lead.
_ABROAD = frozenset({"pg_foreign_server", "pg_user_mapping"})


def _of_catalog(relation: Node) -> Reach | None:
    catalog = own_name(relation)
    return Reach.SERVER if catalog in _SHARED else Reach.ELSEWHERE if catalog in _ABROAD else None


def _insert(fields: Node, temporary: Temporary) -> Iterator[Finding]:
    name = table(fields["relation"])
    catalog = name.startswith(("pg_catalog.", "information_schema."))
    if catalog or not is_temporary(fields["relation"], temporary):
        danger = Danger.CATASTROPHIC if catalog else Danger.WRITE
        why = "a system catalog" if catalog else ""
        yield Finding(danger, "INSERT", (name,), why=why, reach=_of_catalog(fields["relation"]))


def _merge(fields: Node, temporary: Temporary) -> Iterator[Finding]:
    if is_temporary(fields["relation"], temporary):
        return
    deletes = any(clause.get("commandType") == "CMD_DELETE" for _, clause in map(kind_of, fields["mergeWhenClauses"]))
    danger, name = Danger.DESTRUCTIVE if deletes else Danger.WRITE, table(fields["relation"])
    yield Finding(danger, "MERGE", (name,), why="it deletes" if deletes else "", reach=_of_catalog(fields["relation"]))


def _copy(fields: Node, temporary: Temporary) -> Iterator[Finding]:
    if fields.get("is_program"):
        yield Finding(Danger.DESTRUCTIVE, "COPY PROGRAM", why="it runs a program on the server", reach=Reach.SERVER)
    elif fields.get("is_from"):
        yield from _insert(fields, temporary)
    elif "filename" in fields:
        yield Finding(Danger.WRITE, "COPY TO", why="a file on the server", reach=Reach.SERVER)


def _drop(fields: Node, temporary: Temporary) -> Iterator[Finding]:
    kind = str(fields["removeType"]).removeprefix("OBJECT_").replace("_", " ")
    ours = temporary if kind == "TABLE" else frozenset[str]()
    names = [name for name in map(_object_name, fields["objects"]) if not _of_this_session(name, ours)]
    if not names:
        return
    cascade = fields.get("behavior") == "DROP_CASCADE"
    danger = Danger.CATASTROPHIC if kind == "SCHEMA" else Danger.DESTRUCTIVE
    yield Finding(danger, f"DROP {kind}", tuple(names), cascade)


def _object_name(node: Node) -> str:
    kind, fields = kind_of(node)
    match kind:
        case "List":
            return dotted(strings(fields["items"]))
        case "String":
            return str(fields["sval"])
        case "ObjectWithArgs":
            return dotted(strings(fields["objname"]))
        case "TypeName":
            return dotted(strings(fields["names"]))
        case _:
            return "?"


def _of_this_session(name: str, temporary: Temporary) -> bool:
    return name.startswith("pg_temp.") or name in {dotted([each]) for each in temporary}


_LOSSES: Mapping[str, str] = {
    "AT_DropColumn": "DROP COLUMN",
    "AT_DropConstraint": "DROP CONSTRAINT",
    "AT_AlterColumnType": "ALTER COLUMN TYPE",
    "AT_DetachPartition": "DETACH PARTITION",
    "AT_DetachPartitionFinalize": "DETACH PARTITION FINALIZE",
    "AT_DisableTrig": "DISABLE TRIGGER",
    "AT_DisableTrigAll": "DISABLE TRIGGER ALL",
    "AT_DisableTrigUser": "DISABLE TRIGGER USER",
    "AT_DisableRule": "DISABLE RULE",
    "AT_DropOids": "SET WITHOUT OIDS",
    "AT_DropExpression": "DROP EXPRESSION",
    "AT_SetUnLogged": "SET UNLOGGED",
}


def _alter_table(fields: Node, temporary: Temporary) -> Iterator[Finding]:
    target = fields["relation"]
    if is_temporary(target, temporary):
        return
    for _, command in map(kind_of, fields["cmds"]):
        if loss := _LOSSES.get(command["subtype"]):
            cascade = command.get("behavior") == "DROP_CASCADE"
            what = f" {command['name']}" if "name" in command else ""
            yield Finding(Danger.DESTRUCTIVE, "ALTER TABLE", (table(target),), cascade, why=f"{loss}{what}")
        else:
            yield Finding(Danger.WRITE, "ALTER TABLE", (table(target),))


# Settings by which a session takes a guard off: triggers and foreign keys, read-only, pg-safeupdate.
_GUARDS = frozenset(
    {
        "session_replication_role",
        "default_transaction_read_only",
        "transaction_read_only",
        "safeupdate.enabled",
        "allow_system_table_mods",
        "zero_damaged_pages",
    }
)
_HARMLESS = frozenset({"origin", "default", "on", "true", "yes", "1"})


def guard_taken_off(name: str, value: object) -> bool:
    """Whether setting `name` to `value` (None: not known) takes a guard off."""
    name, off = name.lower(), {"allow_system_table_mods", "zero_damaged_pages"}
    if name not in _GUARDS:
        return False
    setting = str(value).lower()
    return setting not in ("off", "false", "no", "0") if name in off else setting not in _HARMLESS


def _set(fields: Node, temporary: Temporary) -> Iterator[Finding]:
    name, values = str(fields.get("name", "")), [kind_of(each) for each in fields.get("args", [])]
    if fields["kind"] == "VAR_SET_MULTI":
        for _, option in values:
            if option.get("defname") == "transaction_read_only" and _flag(option) == 0:
                yield Finding(Danger.DESTRUCTIVE, "SET TRANSACTION READ WRITE", why="takes a guard off")
    elif fields["kind"] in ("VAR_SET_VALUE", "VAR_SET_CURRENT"):
        _, constant = values[0] if values else ("", {})
        value = next((part.get("sval", part.get("ival")) for part in constant.values() if isinstance(part, dict)), None)
        if guard_taken_off(name, value):
            yield Finding(Danger.DESTRUCTIVE, "SET", (name,), why="takes a guard off")
    else:
        yield from _reset(fields["kind"], name)
    if name in ("role", "session_authorization"):
        yield Finding(Danger.WRITE, "SET", (name,))


def _reset(kind: str, name: str) -> Iterator[Finding]:
    if kind == "VAR_RESET_ALL":
        yield Finding(Danger.DESTRUCTIVE, "RESET ALL", why="takes a guard off")
    elif kind in ("VAR_RESET", "VAR_SET_DEFAULT") and name.endswith("transaction_read_only"):
        yield Finding(Danger.DESTRUCTIVE, "RESET", (name,), why="takes a guard off")


def _discard(fields: Node, temporary: Temporary) -> Iterator[Finding]:
    if fields["target"] == "DISCARD_ALL":
        yield Finding(Danger.DESTRUCTIVE, "DISCARD ALL", why="takes a guard off")


def _transaction(fields: Node, temporary: Temporary) -> Iterator[Finding]:
    if fields["kind"] in ("TRANS_STMT_COMMIT_PREPARED", "TRANS_STMT_ROLLBACK_PREPARED", "TRANS_STMT_PREPARE"):
        yield Finding(Danger.WRITE, "COMMIT PREPARED")
    for _, option in map(kind_of, fields.get("options", [])):
        if option.get("defname") == "transaction_read_only" and _flag(option) == 0:
            yield Finding(Danger.DESTRUCTIVE, "BEGIN READ WRITE", why="takes a guard off")


def _flag(option: Node) -> int:
    """The integer of a transaction option; libpg_query leaves a zero out."""
    _, constant = kind_of(option.get("arg", {}))
    return int(constant.get("ival", {}).get("ival", 0)) if "ival" in constant else 1


def _as(danger: Danger, verb: str, *named_by: str, why: str = "") -> Rule:
    """A rule that depends on nothing but the kind of statement."""

    def rule(fields: Node, temporary: Temporary) -> Iterator[Finding]:
        objects = tuple(str(fields[key]) for key in named_by if key in fields)
        yield Finding(danger, verb, objects, why=why)

    return rule


def _alter_role(fields: Node, temporary: Temporary) -> Iterator[Finding]:
    role = str(fields["role"].get("rolename", "current_user")) if "role" in fields else "ALL"
    yield _of_settings(fields, "ALTER ROLE", role, Reach.ROLE)


def _alter_database(fields: Node, temporary: Temporary) -> Iterator[Finding]:
    yield _of_settings(fields, "ALTER DATABASE", str(fields["dbname"]), Reach.DATABASE)


def _of_settings(fields: Node, verb: str, named: str, reach: Reach) -> Finding:
    setting = fields["setstmt"].get("VariableSetStmt", fields["setstmt"])
    inner = list(_set(setting, frozenset()))
    danger = max([Danger.WRITE, *(finding.danger for finding in inner)])
    command = f"SET {setting.get('name', '')}".strip()
    return Finding(danger, verb, (named,), why=f"{command}: {inner[0].why}" if inner else command, reach=reach)


RULES: Mapping[str, Rule] = {
    "SelectStmt": _select,
    "InsertStmt": _insert,
    "DiscardStmt": _discard,
    "TruncateStmt": _truncate,
    "DeleteStmt": _delete_or_update("DELETE"),
    "UpdateStmt": _delete_or_update("UPDATE"),
    "MergeStmt": _merge,
    "CopyStmt": _copy,
    "DropStmt": _drop,
    "AlterTableStmt": _alter_table,
    "VariableSetStmt": _set,
    "TransactionStmt": _transaction,
    "AlterRoleSetStmt": _alter_role,
    "AlterDatabaseSetStmt": _alter_database,
    "DropUserMappingStmt": _as(Danger.DESTRUCTIVE, "DROP USER MAPPING", "servername"),
    "ExecuteStmt": _as(Danger.UNKNOWN, "EXECUTE", "name", why="what was prepared under that name is not seen here"),
    "CallStmt": _as(Danger.UNKNOWN, "CALL", why="the procedure's body is not seen here"),
    "LoadStmt": _as(Danger.UNKNOWN, "LOAD", "filename", why="code of its own"),
}
