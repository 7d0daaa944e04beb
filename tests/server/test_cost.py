"""What a repair costs is linear in its rows: no statement joins the stage and its table row by row over whole scans."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import sql

from recovery.postgres.connect import Session
from tests.fix_lab import Database
from tests.fix_repair import Past, xid_of

ROWS = 3_000
EXPLAINED = ("update", "insert", "delete", "select")
WHOLE = {"Seq Scan", "Materialize", "CTE Scan", "Subquery Scan", "Sort"}


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def row_by_row(plan: dict[str, Any]) -> list[str]:
    """Nested loops whose inner side is read whole for each outer row."""
    return [
        f"{node['Node Type']} over {node['Plans'][1]['Node Type']}"
        for node in nodes(plan)
        if node["Node Type"] == "Nested Loop" and node["Plans"][1]["Node Type"] in WHOLE
    ]


def test_no_statement_over_the_stage_is_quadratic(
    past: Past, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute, seen = Session.execute, dict[str, list[str]]()

    def explained(session: Session, query: Any, *arguments: Any, **keywords: Any) -> Any:
        asked = query.as_string(session) if isinstance(query, sql.Composed) else ""
        if asked.startswith(EXPLAINED) and "rowback_stage" in asked:
            row = execute(session, sql.SQL("explain (format json) {}").format(query)).fetchone()
            assert row
            seen[asked] = row_by_row(row[0][0]["Plan"])
        return execute(session, query, *arguments, **keywords)

    monkeypatch.setattr(Session, "execute", explained)
    with past(
        "create table kinds (id int primary key)",
        "insert into kinds select g from generate_series(1, 50) g",
        "create table goods (id bigint primary key, code text unique, price int not null check (price >= 0),"
        " kind int references kinds)",
        f"insert into goods select g, 'c' || g, 1 + g % 500, 1 + g % 50 from generate_series(1, {ROWS * 2}) g",
        "vacuum analyze",
    ) as times:
        then = database.rows("select * from goods order by 1")
        bad = xid_of(
            database.live,
            database,
            f"update goods set price = 0, code = code || '!' where id <= {ROWS}",
            f"delete from goods where id > {ROWS + ROWS // 2}",
        )
        plan = times.diff("goods", mode="repair", incident_xids=(bad,))
        assert plan.writes == ROWS + ROWS // 2
        times.apply()
        assert database.rows("select * from goods order by 1") == then
        assert len(seen) > 15
        assert {text: loops for text, loops in seen.items() if loops} == {}
