"""Classify SQL text: every statement in it, and everything that runs inside each of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from pgparse import PGQueryError, normalize, parse

from guards.statements.beyond_database import sessions_ended
from guards.statements.constant_text import HOLE, NAME
from guards.statements.danger import Classified, Danger, Finding, Reach
from guards.statements.functions import Sent, function_findings
from guards.statements.parse_tree import Node, children, kind_of, strings
from guards.statements.placeholders import Placeholders, as_the_server_sees_it, has_placeholders
from guards.statements.plpgsql import Block, block_of
from guards.statements.statement_rules import RULES, statement_finding

REMEMBERED = 4096
_SLOT_COMMAND = re.compile(r"\s*((?:drop|alter)_replication_slot)\s+(\"[^\"]+\"|\w+)", re.IGNORECASE)
DEEPEST = 12  # DO in EXECUTE in DO …: beyond it nobody can say

# After these a name may stand for a real table again.
_MAY_END_TEMPORARY = frozenset({"TransactionStmt", "DropStmt", "RenameStmt", "DiscardStmt", "DoStmt", "ExecuteStmt"})
# What is defined here runs later, if ever; what EXPLAIN shows does not run.
_NOT_RUN_NOW = frozenset({"ViewStmt", "CreateFunctionStmt", "RuleStmt", "CreateTrigStmt", "CreatePolicyStmt"})


@dataclass
class _Walk:
    """One walk over a text: what was found, and tables of this session made on the way."""

    depth: int
    findings: list[Finding] = field(default_factory=list)
    temporary: set[str] = field(default_factory=set)


@lru_cache(maxsize=REMEMBERED)
def classify(text: str, placeholders: Placeholders = "python") -> Classified:
    """What `text` would do when it is sent as it is: one statement or several, driver placeholders allowed.

    `placeholders`: whose; with "jdbc" a `?` is one. Never raises: what cannot be parsed is unknown.
    """
    if placeholders == "jdbc":
        text = as_the_server_sees_it(text, placeholders)
    return _READ if _reads_whatever_its_constants(text) else walked_through(text)


def walked_through(text: str) -> Classified:
    """The same by every node of its tree."""
    return Classified(tuple(dict.fromkeys(_found_in(text, 0, set()))))


_READ = Classified(())


def _reads_whatever_its_constants(text: str) -> bool:
    """Whether the text reads with any constants: then it need not be walked through, for many differ in those alone.

    A constant that matters (the text of a DO block, a setting's name) is a parameter in the shape, and so unknown.
    """
    try:
        return not has_placeholders(text) and _is_a_read(normalize(text))
    except PGQueryError:
        return False


@lru_cache(maxsize=REMEMBERED)
def _is_a_read(shape: str) -> bool:
    return walked_through(shape).danger is Danger.READ


def _found_in(text: str, depth: int, temporary: set[str]) -> list[Finding]:
    if depth > DEEPEST:
        return [Finding(Danger.UNKNOWN, "nested too deeply")]
    try:
        statements = _parsed(text)
        walk = _Walk(depth, temporary=temporary)
        for statement in statements:
            _statement(walk, statement["stmt"])
    except PGQueryError as error:
        return _of_replication(text) or [Finding(Danger.UNKNOWN, "not understood", why=_why(error))]
    except RecursionError:
        return [Finding(Danger.UNKNOWN, "nested too deeply")]
    except (KeyError, IndexError, TypeError, ValueError):
        return [Finding(Danger.UNKNOWN, "not understood", why="a statement of a shape that is not known here")]
    return walk.findings


def _of_replication(text: str) -> list[Finding]:
    """Commands of a replication session that end or change a slot: no SQL, so the parser knows none of them."""
    if match := _SLOT_COMMAND.match(text):
        return [Finding(Danger.DESTRUCTIVE, match[1].upper(), (match[2].strip('"'),), reach=Reach.SLOT)]
    return []


def _why(error: PGQueryError) -> str:
    return str(error).strip().splitlines()[0].partition(" at position")[0]


def _parsed(text: str) -> list[Node]:
    """Both as it stands and as a driver would send it, where both can be read: `1=%s` is either."""
    spellings = [text]
    if has_placeholders(text):
        spelled = as_the_server_sees_it(text)
        spellings += [spelled, re.sub(r"\$\d+", r"(\g<0>)", spelled)]  # in %s, values %s: a list of its own
    read = [statements for spelling in dict.fromkeys(spellings) if (statements := _read(spelling)) is not None]
    if not read:
        return list(parse(text))  # with its own error
    return [statement for statements in read[:2] for statement in statements]


def _read(text: str) -> list[Node] | None:
    try:
        return list(parse(text))
    except PGQueryError:
        return None


def _statement(walk: _Walk, node: Node) -> None:
    kind, fields = kind_of(node)
    if kind == "ExplainStmt" and not _analyzes(fields):
        _planned(walk, fields)
        return
    _visit(walk, node)
    made = fields.get("relation", fields.get("into", {}).get("rel", {}))
    at_commit = fields.get("oncommit", fields.get("into", {}).get("onCommit", "ONCOMMIT_NOOP"))
    stays = not fields.get("if_not_exists") and at_commit == "ONCOMMIT_NOOP"
    if kind in ("CreateStmt", "CreateTableAsStmt") and made.get("relpersistence") == "t" and stays:
        walk.temporary.add(str(made.get("relname")))
    elif kind in _MAY_END_TEMPORARY or _changes_search_path(kind, fields):
        walk.temporary.clear()


def _changes_search_path(kind: str, fields: Node) -> bool:
    return kind == "VariableSetStmt" and (fields.get("name") == "search_path" or fields["kind"] == "VAR_RESET_ALL")


def _planned(walk: _Walk, node: Any) -> None:
    """The planner runs functions that call themselves immutable."""
    kind, fields = kind_of(node)
    if kind == "FuncCall":
        _call(walk, fields)
    for child in children(fields if kind else node):
        if isinstance(child, dict | list):
            _planned(walk, child)


def _visit(walk: _Walk, node: Any) -> None:
    kind, fields = kind_of(node)
    if kind == "DoStmt":
        walk.findings += _block(walk, block_of(fields))
        return
    if kind in RULES or kind.endswith("Stmt"):
        walk.findings += statement_finding(kind, fields, frozenset(walk.temporary))
    if kind in _NOT_RUN_NOW:
        return
    if kind == "FuncCall":
        _call(walk, fields)
    before = len(walk.findings)
    for child in children(fields if kind else node):
        if isinstance(child, dict | list):
            _visit(walk, child)
    if kind == "SelectStmt" and len(walk.findings) > before:
        _name_sessions(walk, before, sessions_ended(fields))


def _name_sessions(walk: _Walk, since: int, databases: tuple[str, ...]) -> None:
    """Whose sessions a SELECT ends stands in its WHERE."""
    for n, finding in enumerate(walk.findings[since:], since):
        if finding.reach is Reach.SESSIONS and not finding.objects:
            walk.findings[n] = replace(finding, objects=databases)


def _call(walk: _Walk, fields: Node) -> None:
    if strings(fields["funcname"])[-1] == "set_config":
        walk.temporary.clear()  # perhaps the search path
    for finding in function_findings(strings(fields["funcname"]), fields.get("args", [])):
        match finding:
            case Finding():
                walk.findings.append(finding)
            case Sent(text):
                walk.findings += _sent(walk, text)
            case text:
                walk.findings += _found_in(text, walk.depth + 1, set())


def _sent(walk: _Walk, text: str | None) -> list[Finding]:
    """What another session is given to do may leave the database that it is in: where it goes then is not known."""
    inner = [] if text is None else _found_in(text, walk.depth + 1, set())
    if text is not None and not any(finding.reach for finding in inner):
        return []
    return [Finding(Danger.UNKNOWN, "dblink", why="what it sends leaves its database", reach=Reach.ELSEWHERE)]


def _block(walk: _Walk, block: Block) -> Iterator[Finding]:
    """What a DO block runs: its statements, and the texts it puts together as far as they are constant."""
    yield from block.findings
    for text in block.texts:
        yield from _found_in(text, walk.depth + 1, set())
    for text in block.dynamic:
        findings = _found_in(text, walk.depth + 1, set())
        if block.over_catalog and (HOLE in text or NAME in text):
            findings = [
                replace(f, danger=Danger.CATASTROPHIC) if f.danger is Danger.DESTRUCTIVE else f for f in findings
            ]
        yield from findings
        if HOLE in text and max((f.danger for f in findings), default=Danger.READ) < Danger.DESTRUCTIVE:
            yield Finding(Danger.UNKNOWN, "EXECUTE", why="a part of its text is not known before it runs")


def _analyzes(fields: Node) -> bool:
    analyzes = False
    for _, option in map(kind_of, fields.get("options", [])):
        if option.get("defname") == "analyze":  # said twice, the last one counts
            kind, value = kind_of(option.get("arg", {}))
            # libpg_query leaves a zero out, and `analyze` alone has no argument
            setting = value.get("ival", 0) if kind == "Integer" else value.get("sval", "true")
            analyzes = str(setting).lower() not in ("false", "off", "0")
    return analyzes
