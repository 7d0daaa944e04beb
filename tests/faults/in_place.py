"""What the tests of loads in place share: a truncated table, how it was defined, and a process that is killed."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from datetime import datetime

import pytest

from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, restoring, the_case
from tests.fix_lab import Database
from tests.schema_dump import definitions

SIGNAL_AT, STRIKE_AT = "tests.faults.signal_at", "tests.faults.strike_at"
ROWS = 3000
QUERY = "select count(*), sum(hashtextextended(t::text, 0)) from t"
INDEXES = {"t_pkey", "by_body", "by_part"}


@dataclass(frozen=True)
class Incident:
    """Truncated tables, what queries said that they held, and how everything is defined."""

    target: datetime
    held: dict[str, list[tuple[object, ...]]]
    definitions: str


@pytest.fixture
def incident(database: Database) -> Incident:
    database.run(
        "create table t (n int primary key, body text)",
        "create index by_body on t using gin (to_tsvector('simple', body))",
        "create index by_part on t (left(body, 4) desc) where n > 10",
        "comment on index by_part is 'hers; \"theirs\"'",
        f"insert into t select g, md5(g::text) from generate_series(1, {ROWS}) g",
    )
    held = {QUERY: database.rows(QUERY)}
    target = pass_a_second()
    database.run("truncate t")
    return Incident(target, held, definitions(database))


def in_place(cli: Cli, database: Database, incident: Incident) -> list[str]:
    return restoring(cli, database, incident.target, "--table", "t", "--load", "in-place")


def indexes(database: Database) -> set[str]:
    return {
        name
        for (name,) in database.rows("select indexrelid::regclass::text from pg_index where indrelid = 't'::regclass")
    }


def assert_recovered(cli: Cli, database: Database, incident: Incident) -> None:
    assert {query: database.rows(query) for query in incident.held} == incident.held
    assert the_case(cli)["outcome"] == "recovered"
    assert_as_it_was(database, incident)


def assert_as_it_was(database: Database, incident: Incident) -> None:
    assert definitions(database) == incident.definitions
    assert database.rows("select nspname from pg_namespace where nspname like 'rowback%'") == []


def digest_of(cli: Cli, case: str) -> str:
    """Of its repair plan, as `apply` takes it."""
    return str(json.loads(cli("diff", case, "--json").out)["digest"])[:8]


def killed(cli: Cli, database: Database, incident: Incident, event: str, step: str) -> str:
    return killed_at(cli, event, step, *in_place(cli, database, incident))


def killed_at(cli: Cli, event: str, step: str, *arguments: str) -> str:
    """The case of a command that was killed when it recorded an event."""
    process = cli.start("SIGKILL", event, step, *arguments, module=SIGNAL_AT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, err
    return str(the_case(cli)["case"])
