"""What the tests of swaps share: two truncated tables, and the commands that bring them back."""

from __future__ import annotations

import pytest

from runbooks.lab.background import pass_a_second
from tests.faults.in_place import Incident, killed_at
from tests.fix_cli import Cli, restoring
from tests.fix_lab import Database
from tests.schema_dump import definitions

PUBLIC = ("--schema", "public")
QUERIES = (
    "select count(*), sum(hashtextextended(p::text, 0)) from p where id <= 1000",
    "select count(*), sum(hashtextextended(t::text, 0)) from t where n <= 3000",
)


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
    held = {query: database.rows(query) for query in QUERIES}
    target = pass_a_second()
    database.run("truncate p, t")
    return Incident(target, held, definitions(database))


OPTIONS = ("--table", "p", "--table", "t", "--load", "swap")


def swapping(cli: Cli, database: Database, incident: Incident) -> list[str]:
    return restoring(cli, database, incident.target, *OPTIONS)


def opening(cli: Cli, database: Database, incident: Incident) -> list[str]:
    """The arguments of `open`."""
    return [*restoring(cli, database, incident.target)[1:-2], *OPTIONS]


def killed(cli: Cli, database: Database, incident: Incident, event: str, step: str) -> str:
    return killed_at(cli, event, step, *swapping(cli, database, incident))
