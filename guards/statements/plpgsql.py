"""What a DO block runs: its own statements, and the texts it EXECUTEs as far as they are constant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pgparse import PGQueryError, parse, parse_pgsql

from guards.statements.constant_text import HOLE, folded_text
from guards.statements.danger import Danger, Finding
from guards.statements.parse_tree import Node, children, kind_of


@dataclass(frozen=True)
class Block:
    """Texts that the block will run, and what can be said without them.

    `over_catalog`: it asks which tables there are, so a text that it puts together may be about all of them.
    """

    texts: tuple[str, ...]
    dynamic: tuple[str, ...]
    findings: tuple[Finding, ...]
    over_catalog: bool = False


_CATALOG = re.compile(
    r"\b(?:pg_(?:tables|class|matviews|namespace|inherits)|information_schema\.tables)\b", re.IGNORECASE
)


def block_of(fields: Node) -> Block:
    """Take a DoStmt apart. In another language than plpgsql, or when it does not parse, it is unknown."""
    options = {option["defname"]: _text(option["arg"]) for _, option in map(kind_of, fields.get("args", []))}
    language, body = options.get("language", "plpgsql").lower(), options.get("as", "")
    if language not in ("plpgsql", "sql"):
        return Block((), (), (Finding(Danger.UNKNOWN, "DO", why=f"language {language}"),))
    tag = "$rowback$"
    while tag in body:
        tag = f"${tag.strip('$')}_$"
    try:
        parts = list(_parts(parse_pgsql(f"do {tag}{body}{tag}")))
    except PGQueryError as error:
        return Block((), (), (Finding(Danger.UNKNOWN, "DO", why=str(error).strip().splitlines()[0]),))
    return Block(
        tuple(part for part in parts if isinstance(part, str)),
        tuple(part.text for part in parts if isinstance(part, _Dynamic)),
        tuple(part for part in parts if isinstance(part, Finding)),
        over_catalog=_CATALOG.search(body) is not None,
    )


@dataclass(frozen=True)
class _Dynamic:
    """A text that the block puts together."""

    text: str


def _text(node: Any) -> str:
    kind, fields = kind_of(node)
    return str(fields.get("sval", "")) if kind == "String" else ""


def _parts(node: Any) -> Iterator[str | _Dynamic | Finding]:
    if isinstance(node, dict):
        if "PLpgSQL_stmt_call" in node:
            yield Finding(Danger.UNKNOWN, "CALL", why="the procedure's body is not seen here")
        for name, fields in node.items():
            if name in ("PLpgSQL_stmt_dynexecute", "PLpgSQL_stmt_dynfors"):
                yield from _dynamic(fields["query"]["PLpgSQL_expr"]["query"])
            elif name == "dynquery":  # OPEN … FOR EXECUTE, RETURN QUERY EXECUTE
                yield from _dynamic(fields["PLpgSQL_expr"]["query"])
            if name == "PLpgSQL_expr":
                yield from _as_statements(fields)
            else:
                yield from _parts(fields)
    else:
        for child in children(node):
            yield from _parts(child)


def _as_statements(fields: Node) -> Iterator[str]:
    """An expression of the block as a statement: whole ones are there already, values want a SELECT."""
    query, mode = str(fields["query"]), int(fields.get("parseMode", 0))
    if mode >= 3:  # an assignment: subscripts on its left are computed as well
        left, _, right = query.partition(":=") if ":=" in query else query.partition("=")
        yield from (f"select {left}", f"select {right}")
    else:
        yield query if mode == 0 else f"select {query}"


def _dynamic(expression: str) -> Iterator[_Dynamic | Finding]:
    """The text of an EXECUTE, put together from its constants; names that are not known become a hole."""
    target = parse(f"select {expression}")[0]["stmt"]["SelectStmt"]["targetList"][0]["ResTarget"]["val"]
    folded = folded_text(target)
    if folded is None or not folded.replace(HOLE, "").strip():
        yield Finding(Danger.UNKNOWN, "EXECUTE", why=f"the text of {expression.strip()} is not known before it runs")
        return
    yield _Dynamic(folded)
