"""Names of tables: --table, --except, `schema.table` in texts that come back out of journals."""

from __future__ import annotations

from pathlib import Path
from random import Random

from recovery.compare.scope import ScopeRequest, choose_scope
from recovery.incident.rank_suspects import same_table
from recovery.model.catalog import Catalog, Column, ForeignKey, Partitioned, Table
from recovery.model.load_order import load_order
from recovery.model.values import TableName, leading_name, named_table
from tests.fuzz.mutations import mutated
from tests.fuzz.target import Invocation, Target, argument

SEEDS = (
    "content.articles",
    "articles",
    'content."Weird Name; --"',
    '"Sales.2026".orders',
    "content.*",
    "*",
    "ops.[a-z]*",
    'a."b""c".d',
    "content.articles: 3 rows were changed",
    "db.schema.table",
    "",
    ".",
    '""',
    "a..b",
)
TOKENS = ('"', '""', ".", "*", "?", "[", "[!", "]", ": ", "content", "articles", "ops", "\\", "'")
KEY_OPERATOR = ("pg_catalog", "=")


def _table(schema: str, name: str) -> Table:
    column = Column(name="id", type_name="bigint", type_oid=20, base_type="bigint", generated=False)
    return Table(
        name=TableName(schema_name=schema, name=name),
        oid=1,
        columns=(column,),
        bytes=8192,
        unlogged=name == "cache",
        row_security=name == "secrets",
        owned=True,
        readable=True,
        insertable=True,
        key=("id",),
    )


def _catalog() -> Catalog:
    names = (
        ("content", "articles"),
        ("content", "spaces"),
        ("content", "Weird Name; --"),
        ("ops", "articles"),
        ("ops", "cache"),
        ("ops", "secrets"),
        ("ops", "log_1"),
        ("ops", "log_2"),
        ("Sales.2026", "orders"),
    )
    tables = tuple(_table(*each) for each in names)
    key = ForeignKey(
        name="articles_space",
        child=tables[0].name,
        columns=("id",),
        parent=tables[1].name,
        parent_tables=(tables[1].name,),
        parent_columns=("id",),
        operators=(KEY_OPERATOR,),
        deferrable=False,
    )
    log = Partitioned(name=TableName(schema_name="ops", name="log"), leaves=(tables[6].name, tables[7].name))
    return Catalog(tables=tables, partitioned=(log,), foreign_keys=(key,), sequences=())


CATALOG = _catalog()
NONEMPTY = {CATALOG.tables[1].name}


def _make(rng: Random) -> tuple[str, str]:
    return argument(mutated(rng, SEEDS, TOKENS)), argument(mutated(rng, SEEDS, TOKENS)) if rng.random() < 0.3 else ""


def _act(data: tuple[str, str], directory: Path) -> None:
    text, without = data
    same_table(text, "content.articles")
    str(named_table(text))
    leading_name(text)
    scope = choose_scope(CATALOG, NONEMPTY, ScopeRequest((text,), (without,) if without else ()))
    load_order(scope.chosen, CATALOG)


def _command(data: tuple[str, str], directory: Path) -> Invocation:
    text, _ = data
    log = "2026-11-22 14:20:00 UTC:10.0.0.1(5432):app@docs:[17]:LOG:  statement: truncate content.articles\n"
    (directory / "log").write_text(log)
    return Invocation(("find", "--log", "log", f"--table={text}", "--json"))


TARGETS = (Target("tables", _make, _act, 12, _command),)
