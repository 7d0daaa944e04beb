"""More tables than one transaction may lock: told with a way on that leads to every row."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest

from runbooks.lab.background import pass_a_second
from runbooks.lab.lab_server import Lab
from tests.fix_cli import Cli, restoring
from tests.fix_lab import Database, Live, end_instance, rds_client

pytestmark = pytest.mark.kinds

TABLES = 300
BATCH = 100


@pytest.fixture(scope="module")
def live(lab_of_a_version: Lab) -> Iterator[Live]:
    """A server that has room for few locks: some 1,300, and rowback takes eight for each table."""
    rds, name = rds_client(lab_of_a_version), "few-locks"
    family = lab_of_a_version.engine.default_parameters.family
    rds.create_db_parameter_group(DBParameterGroupName=name, DBParameterGroupFamily=family, Description=name)
    few = {"ParameterName": "max_locks_per_transaction", "ParameterValue": "10", "ApplyMethod": "pending-reboot"}
    rds.modify_db_parameter_group(DBParameterGroupName=name, Parameters=[few])
    password = lab_of_a_version.create_instance(name, PubliclyAccessible=False, DBParameterGroupName=name)
    yield Live(lab_of_a_version, name, password)
    end_instance(lab_of_a_version, name, name)


def everywhere(database: Database, statement: str) -> None:
    for start in range(0, TABLES, BATCH):
        database.run(*(statement.format(n=n) for n in range(start, start + BATCH)))


def held(database: Database) -> list[tuple[int, int, str]]:
    found = []
    for start in range(0, TABLES, BATCH):
        parts = (f"select {n}, id, v from t{n}" for n in range(start, start + BATCH))
        found += database.rows(f"{' union all '.join(parts)} order by 1, 2")
    return found


def test_a_lost_row_in_each_of_300_tables(cli: Cli, database: Database) -> None:
    everywhere(database, "create table t{n} (id int primary key, v text)")
    everywhere(database, "insert into t{n} values (1, 'a{n}'), (2, 'b{n}')")
    before, target = held(database), pass_a_second()
    everywhere(database, "delete from t{n} where id = 1")
    after = held(database)
    ran = cli(*restoring(cli, database, target))
    assert ran.code == 54, ran.err
    said = re.search(r"error\[load-refused\]: (.*)", ran.err)
    assert said
    assert said[1] == f"repairing {TABLES} tables in one transaction takes more locks than the server has room for"
    assert held(database) == after
    offered = re.search(r"each in a transaction of its own: rowback (apply .* --max-wal-rate 64MiB);", ran.err)
    assert offered, ran.err
    followed = cli(*shlex.split(offered[1]), "--confirm", database.name)
    assert followed.code == 0, followed.err
    assert held(database) == before
