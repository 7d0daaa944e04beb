"""What the tests of swaps share: two truncated tables, how they were defined, and a process that is killed."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from datetime import datetime

import pytest

from runbooks.lab.background import pass_a_second
from tests.faults.in_place import SIGNAL_AT, definitions
from tests.fix_cli import Cli, restoring, the_case
from tests.fix_lab import Database

QUERIES = (
    "select count(*), sum(hashtextextended(p::text, 0)) from p where id <= 1000",
    "select count(*), sum(hashtextextended(t::text, 0)) from t where n <= 3000",
)


@dataclass(frozen=True)
class Incident:
    """Two truncated tables, what they held, and how they are defined: everything, and what is in schema public."""

    target: datetime
    held: list[list[tuple[object, ...]]]
    definitions: str
    public: str


@pytest.fixture
def incident(database: Database) -> Incident:
    database.run(
        "create table space (id int primary key)",
        "insert into space select generate_series(1, 10)",
        "create table p (id int generated always as identity primary key, space int not null references space)",
        "create table t (n serial primary key, p int not null references p, body text)",
        "create index by_body on t using gin (to_tsvector('simple', body))",
        "create view v as select t.n, p.id from t join p on p.id = t.p",
        "grant select on t to public",
        "comment on table t is 'hers'",
        "insert into p (space) select 1 + g % 10 from generate_series(1, 1000) g",
        "insert into t (p, body) select 1 + g % 1000, md5(g::text) from generate_series(1, 3000) g",
    )
    held = [database.rows(query) for query in QUERIES]
    target = pass_a_second()
    database.run("truncate p, t")
    return Incident(target, held, definitions(database), definitions(database, *PUBLIC))


PUBLIC = ("--schema", "public")
OPTIONS = ("--table", "p", "--table", "t", "--load", "swap")


def swapping(cli: Cli, database: Database, incident: Incident) -> list[str]:
    return restoring(cli, database, incident.target, *OPTIONS)


def digest_of(cli: Cli, case: str) -> str:
    """Of its repair plan, as `apply` takes it."""
    return str(json.loads(cli("diff", case, "--json").out)["digest"])[:8]


def opening(cli: Cli, database: Database, incident: Incident) -> list[str]:
    """The arguments of `open`."""
    return [*restoring(cli, database, incident.target)[1:-2], *OPTIONS]


def assert_recovered(cli: Cli, database: Database, incident: Incident) -> None:
    assert [database.rows(query) for query in QUERIES] == incident.held
    assert the_case(cli)["outcome"] == "recovered"
    assert_as_it_was(database, incident)


def assert_as_it_was(database: Database, incident: Incident) -> None:
    assert definitions(database) == incident.definitions
    assert database.rows("select nspname from pg_namespace where nspname like 'rowback%'") == []


def killed(cli: Cli, database: Database, incident: Incident, event: str, step: str) -> str:
    process = cli.start("SIGKILL", event, step, *swapping(cli, database, incident), module=SIGNAL_AT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, err
    return str(the_case(cli)["case"])
