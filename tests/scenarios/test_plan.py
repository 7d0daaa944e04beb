"""What a plan says beforehand: time, cost and its ceiling, who is in the way, who listens."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import psycopg
import pytest

from recovery.model.target import format_utc
from runbooks.lab.background import pass_a_second
from runbooks.lab.lab_server import Lab
from tests.fix_cli import Cli, the_case
from tests.fix_lab import Database, Live, wait_until
from tests.scenarios.fix_planned import TABLE, emptied, planned


def outlook(cli: Cli, database: Database, target: str, *extra: str) -> dict[str, Any]:
    found = planned(cli, database, target, "--out", "p.json", "--json", *extra)
    assert found.code == 0, found.err
    return dict(json.loads(found.out)["outlook"])


def test_time_is_learned_from_cases_that_recovered(cli: Cli, database: Database) -> None:
    target = emptied(database)
    before = outlook(cli, database, target)
    assert before["duration"] is None
    assert before["replay_s"] >= 0
    assert before["wal_bytes"] > 0
    restored = cli("restore", "--plan", "p.json", "--confirm", database.name)
    assert restored.code == 0, restored.err
    assert "no recovery was measured here yet; RDS takes 10 to 20 minutes and the replay, as a rule" in restored.err
    took = sum(phase["seconds"] for phase in the_case(cli)["phases"])
    learned = outlook(cli, database, format_utc(pass_a_second()))["duration"]
    assert learned["cases"] == 1
    assert learned["of"] == f"'{cli.live.identifier}'"
    assert learned["typical_s"] == pytest.approx(took, abs=0.2)


def test_cost_is_of_the_price_list_or_of_a_table_or_unknown(cli: Cli, database: Database, lab: Lab) -> None:
    target = emptied(database)
    cost = outlook(cli, database, target)["cost"]
    assert cost["price"]["usd_per_hour"] == 0.02
    assert cost["price"]["storage_usd_per_gib_month"] == 0.127
    assert cost["price"]["source"].startswith("AWS's price list, ")
    assert cost["most_usd"] == pytest.approx((0.02 + 20 * 0.127 / 730) * 24)
    lab.engine.faults.denied = {"pricing:GetProducts"}
    try:
        assert outlook(cli, database, target)["cost"] is None
        text = planned(cli, database, target, "--out", "q.json").out
    finally:
        lab.engine.faults.denied = set()
    assert "cost        unknown: neither AWS's price list nor rowback's table has this class in this region" in text


@pytest.mark.parametrize(
    ("ceiling", "hours"),
    [("0.12", 5), ("100", 24)],  # $0.0235 an hour with storage; expiry after 24 h unless the ceiling comes first
)
def test_a_ceiling_is_kept_by_the_expiry(cli: Cli, database: Database, ceiling: str, hours: int) -> None:
    found = planned(cli, database, emptied(database), "--out", "p.json", "--max-cost", ceiling)
    assert found.code == 0, found.err
    assert json.loads(Path("p.json").read_text())["copy_settings"]["expires_after_hours"] == hours


def test_a_ceiling_that_cannot_be_promised_is_refused(cli: Cli, database: Database, lab: Lab) -> None:
    target = emptied(database)
    low = planned(cli, database, target, "--max-cost", "0.01")
    assert (low.code, low.out) == (60, "")
    assert re.sub(r"list, .*", "list, TODAY", low.err) == (
        "error[cost-ceiling]: one hour of db.t3.micro in eu-west-1 costs $0.02, more than $0.01\n"
        "  according to AWS's price list, TODAY\n"
        "  nothing was created, nothing was written\n"
        "  help: raise --max-cost, or choose a smaller copy_class in rowback.toml\n"
    )
    lab.engine.faults.denied = {"pricing:GetProducts"}
    try:
        unknown = planned(cli, database, target, "--max-cost", "100")
    finally:
        lab.engine.faults.denied = set()
    assert unknown.code == 60
    assert unknown.err.startswith(
        "error[cost-ceiling]: nobody says what db.t3.micro in eu-west-1 costs, so $100.00 cannot be promised\n"
    )
    assert list(Path().glob("plan-*.json")) == []


def test_provisioned_iops_are_counted(cli: Cli, database: Database, live: Live, lab: Lab) -> None:
    """3,000 of them cost $330 a month, of which an hour is $0.45."""
    attributes = lab.engine.instances[live.identifier].attributes
    kept = dict(attributes)
    attributes |= {"StorageType": "io1", "Iops": 3000}
    try:
        refused = planned(cli, database, emptied(database), "--max-cost", "0.40")
    finally:
        attributes.clear()
        attributes |= kept
    assert refused.code == 60
    assert "one hour of db.t3.micro in eu-west-1 costs $0.48, more than $0.40" in refused.err


def test_who_is_in_the_way_and_who_listens(cli: Cli, database: Database, live: Live) -> None:
    target = emptied(database)
    database.run("create materialized view names as select name from people", "create publication p for table people")
    with (
        psycopg.connect(live.dsn(database.name), application_name="importer") as importer,
        psycopg.connect(live.dsn(database.name), application_name="report") as reader,
    ):
        reader.execute("select name from people where name = 'somebody'")
        importer.execute("insert into people values (3, 'eve')")
        found = outlook(cli, database, target, "--table", "people")
        importer.rollback()
    told = [re.sub(r"pid \d+|\d\d:\d\d:\d\d", "N", line) for line in found["in_the_way"]]
    assert told == [
        "N (postgres, importer) is idle in transaction, in its transaction for N; the load waits for it:"
        " insert into people values ($1, $2)",
        "N (postgres, report) is idle in transaction, in its transaction for N; only reads:"
        " select name from people where name = $1",
    ]
    assert found["listeners"] == [
        "publication p sends the changes of 1 of these tables to its subscribers",
        "materialized view public.names keeps its old rows until: refresh materialized view public.names",
    ]


def test_what_the_log_knows(cli: Cli, database: Database, live: Live) -> None:
    cluster = live.lab.engine.instances[live.identifier].cluster
    cluster.settings |= {"log_statement": "all"}
    cluster.reload()
    with live.connect() as session:
        wait_until(lambda: session.execute("show log_statement").fetchone() == ("all",), "all is logged")
    database.run(*TABLE)
    target = format_utc(pass_a_second())
    database.run("begin", "truncate people", "commit", "select 1")
    (line,) = outlook(cli, database, target, "--find")["incident"]
    assert re.fullmatch(r"\S+Z committed: TRUNCATE people by postgres", line)
    assert outlook(cli, database, target)["incident"] is None, "only when asked"
