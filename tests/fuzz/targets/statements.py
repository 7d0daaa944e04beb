"""SQL: what a statement would do (guards), what a log may show of it (incident), and --where on a real server."""

from __future__ import annotations

import atexit
import os
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from guards.isolation.throwaway_cluster import throw_away
from guards.refusal import GuardError
from guards.statements import classify
from recovery.incident.statement_redaction import shape_of, without_values
from recovery.model.values import TableName
from recovery.postgres.comparison.table_scan import refuses_predicate
from recovery.postgres.connect import Session
from tests.fuzz.mutations import mutated
from tests.fuzz.target import Invocation, Target, Unavailable, argument

SQL = (
    "delete from content.articles where id = %s",
    "truncate a, b restart identity cascade",
    "select * from t",
    "with x as (delete from t returning *) select * from x",
    "do $$ begin execute 'drop table t'; end $$",
    "drop schema public cascade; select 1",
    "update t set a = :a where b = $1",
    "copy t from program 'x'",
    "create function f() returns void language plpgsql as $f$ begin delete from t; end $f$",
    "vacuum full",
    "select set_config('a.b', 'c', true), pg_terminate_backend(1)",
    "alter table t drop column c",
    "begin; rollback",
    "merge into t using s on true when matched then delete",
    "prepare p as delete from t; execute p",
    "drop_replication_slot s",
    "explain (analyze) delete from t",
    "set role x",
    "grant all on t to public",
)
TOKENS = (
    "$$",
    "$a$",
    "'",
    '"',
    ";",
    "--",
    "/*",
    "*/",
    "(",
    ")",
    "%s",
    "%(a)s",
    ":a",
    "$1",
    "?",
    "delete from ",
    "select ",
    "U&'\\0041'",
    "E'\\x41'",
    "::text",
    "array[",
    "]",
    " is null",
    "case when ",
    "exists (",
    " union ",
    "where ",
    "= any(",
)
CONDITIONS = (
    "id = 42",
    "id > 3 and title like 'a%'",
    "title is null",
    "id in (1, 2)",
    "tags ? 'x'",
    "id = $1",
    "true) or (true",
    "exists (select 1 from t)",
    "at > now() - interval '1 day'",
    "pg_sleep(9) is null",
    "(select 1/0) = 1",
    "id::text = ''",
)
TABLE = TableName(schema_name="public", name="t")


def _make(rng: Random) -> str:
    return mutated(rng, SQL, TOKENS).encode(errors="ignore").decode()


def _act(data: str, directory: Path) -> None:
    classify(data, "jdbc" if len(data) % 5 == 0 else "python")
    without_values(data)
    shape_of(data)


def _command(data: str, directory: Path) -> Invocation:
    """As a step of a runbook."""
    front = "---\ntitle: T\npurpose: P\nwhen: W\n---\n# T\n\nWords.\n\n"
    (directory / "book.md").write_text(f"{front}```sql id=a timeout=1m\n{data}\n```\n")
    return Invocation(("runbook", "lint", "book.md"))


def _make_condition(rng: Random) -> str:
    return argument(mutated(rng, CONDITIONS, TOKENS))


@cache
def _server() -> str:
    stack = ExitStack()
    atexit.register(stack.close)
    try:
        dsn, _ = stack.enter_context(throw_away())
    except GuardError as error:
        raise Unavailable(error.fact) from error
    with Session.connect(dsn, autocommit=True) as session:
        session.execute("create table t (id bigint primary key, title text, tags jsonb, at timestamptz)")
    return dsn


_SESSIONS: dict[int, Any] = {}


def _session() -> Session:
    """One for each process."""
    if os.getpid() not in _SESSIONS:
        _SESSIONS[os.getpid()] = Session.connect(_server(), autocommit=True)
    session: Session = _SESSIONS[os.getpid()]
    return session


def _prepare() -> None:
    _server()


def _act_condition(data: str, directory: Path) -> None:
    refuses_predicate(_session(), TABLE, data)


TARGETS = (
    Target("statements", _make, _act, 30, _command),
    Target("where", _make_condition, _act_condition, 8, prepare=_prepare),
)
