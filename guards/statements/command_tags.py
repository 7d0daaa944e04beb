"""What PostgreSQL itself calls a statement (its command tag), and the objects that it names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from guards.statements.parse_tree import Node, dotted, kind_of, strings, table

# Where the parser's name, cut into words, is not the command's.
_TAGS: Mapping[str, str] = {
    "CreateStmt": "CREATE TABLE",
    "CreatedbStmt": "CREATE DATABASE",
    "IndexStmt": "CREATE INDEX",
    "ViewStmt": "CREATE VIEW",
    "RuleStmt": "CREATE RULE",
    "CreateSeqStmt": "CREATE SEQUENCE",
    "AlterSeqStmt": "ALTER SEQUENCE",
    "CreateTrigStmt": "CREATE TRIGGER",
    "CreateEventTrigStmt": "CREATE EVENT TRIGGER",
    "AlterEventTrigStmt": "ALTER EVENT TRIGGER",
    "CreateEnumStmt": "CREATE TYPE",
    "CreateRangeStmt": "CREATE TYPE",
    "CompositeTypeStmt": "CREATE TYPE",
    "AlterEnumStmt": "ALTER TYPE",
    "AlterTypeStmt": "ALTER TYPE",
    "CreateStatsStmt": "CREATE STATISTICS",
    "AlterStatsStmt": "ALTER STATISTICS",
    "CreateAmStmt": "CREATE ACCESS METHOD",
    "CreatePLangStmt": "CREATE LANGUAGE",
    "CreateOpClassStmt": "CREATE OPERATOR CLASS",
    "CreateOpFamilyStmt": "CREATE OPERATOR FAMILY",
    "AlterOpFamilyStmt": "ALTER OPERATOR FAMILY",
    "AlterOperatorStmt": "ALTER OPERATOR",
    "CreateFdwStmt": "CREATE FOREIGN DATA WRAPPER",
    "AlterFdwStmt": "ALTER FOREIGN DATA WRAPPER",
    "CreateForeignServerStmt": "CREATE SERVER",
    "AlterForeignServerStmt": "ALTER SERVER",
    "AlterExtensionContentsStmt": "ALTER EXTENSION",
    "RefreshMatViewStmt": "REFRESH MATERIALIZED VIEW",
    "CheckPointStmt": "CHECKPOINT",
    "SecLabelStmt": "SECURITY LABEL",
    "LockStmt": "LOCK TABLE",
    "AlterTableMoveAllStmt": "ALTER TABLE ALL IN TABLESPACE",
    "AlterTableSpaceOptionsStmt": "ALTER TABLESPACE",
    "CreateTableSpaceStmt": "CREATE TABLESPACE",
    "AlterTSConfigurationStmt": "ALTER TEXT SEARCH CONFIGURATION",
    "AlterTSDictionaryStmt": "ALTER TEXT SEARCH DICTIONARY",
    "AlterDatabaseRefreshCollStmt": "ALTER DATABASE",
    "AlterDatabaseSetStmt": "ALTER DATABASE",
    "AlterDefaultPrivilegesStmt": "ALTER DEFAULT PRIVILEGES",
    "CreateConversionStmt": "CREATE CONVERSION",
    "AlterUserMappingStmt": "ALTER USER MAPPING",
    "CreateUserMappingStmt": "CREATE USER MAPPING",
}
_NAMES = (
    "dbname",
    "role",
    "extname",
    "schemaname",
    "idxname",
    "trigname",
    "rulename",
    "policy_name",
    "servername",
    "fdwname",
    "tablespacename",
    "pubname",
    "subname",
    "conditionname",
    "amname",
    "plname",
    "name",
)
_RELATIONS = ("relation", "sequence", "view", "base", "typevar")


def tag_of(kind: str, fields: Node) -> str:
    """The command's tag, such as CREATE TABLE, SECURITY LABEL or ALTER TABLE."""
    match kind:
        case "VacuumStmt":
            tag = "VACUUM" if fields.get("is_vacuumcmd") else "ANALYZE"
        case "GrantStmt" | "GrantRoleStmt":
            tag = "GRANT" if fields.get("is_grant") else "REVOKE"
        case "CreateTableAsStmt" if fields.get("objtype") == "OBJECT_MATVIEW":
            tag = "CREATE MATERIALIZED VIEW"
        case "CreateFunctionStmt" if fields.get("is_procedure"):
            tag = "CREATE PROCEDURE"
        case "DefineStmt":
            tag = f"CREATE {_object(fields['kind'])}"
        case "RenameStmt":
            tag = f"ALTER {_object(fields['renameType'])}"
        case "AlterOwnerStmt" | "AlterObjectSchemaStmt" | "AlterObjectDependsStmt":
            tag = f"ALTER {_object(fields.get('objectType', 'OBJECT_TABLE'))}"
        case _:
            tag = _TAGS.get(kind) or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.removesuffix("Stmt")).upper()
    return tag


def named_in(fields: Node) -> tuple[str, ...]:
    """The object that a statement names; nothing where it has another shape."""
    for key in _RELATIONS:
        if isinstance(fields.get(key), dict) and "relname" in fields[key]:
            return (table(fields[key]),)
    into = fields.get("into", {})
    if "rel" in into:
        return (table(into["rel"]),)
    for key in ("relations", "rels"):
        if key in fields:
            targets = (kind_of(each)[1] for each in fields[key])
            return tuple(table(target.get("relation", target)) for target in targets)
    for key in ("funcname", "typeName", "defnames"):
        if key in fields:
            return (dotted(strings(fields[key])),)
    return next(((str(fields[key]),) for key in _NAMES if isinstance(fields.get(key), str)), ())


def _object(kind: str) -> str:
    """OBJECT_MATVIEW → MATERIALIZED VIEW."""
    words = kind.removeprefix("OBJECT_").replace("_", " ")
    return {
        "MATVIEW": "MATERIALIZED VIEW",
        "ATTRIBUTE": "TYPE",
        "COLUMN": "TABLE",
        "TABCONSTRAINT": "TABLE",
        "DOMCONSTRAINT": "DOMAIN",
        "FDW": "FOREIGN DATA WRAPPER",
        "OPCLASS": "OPERATOR CLASS",
        "TSPARSER": "TEXT SEARCH PARSER",
        "TSDICTIONARY": "TEXT SEARCH DICTIONARY",
        "TSTEMPLATE": "TEXT SEARCH TEMPLATE",
        "TSCONFIGURATION": "TEXT SEARCH CONFIGURATION",
        "FOREIGN SERVER": "SERVER",
    }.get(words, words)
