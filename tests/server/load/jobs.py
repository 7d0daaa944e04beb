"""Loading whole tables: shapes, and the job that loads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recovery.model.catalog import Catalog
from recovery.model.values import TableName
from recovery.postgres.client_programs import find_client_tools
from recovery.postgres.connect import Session, connect
from recovery.postgres.copy_rows import CopyTransport, Pair, RowTransport
from recovery.postgres.dump import DumpTransport, dump_tables
from recovery.postgres.fingerprint import fingerprint
from recovery.postgres.read_catalog import read_catalog
from recovery.reload.load_job import AtTarget, Job, Loaded
from tests.fix_lab import Database
from tests.fix_plan import plan_for


@contextmanager
def job_for(source: Database, database: Database, **changes: Any) -> Iterator[tuple[Session, Session, Job]]:
    with connect(source.target()) as there, connect(database.target()) as here:
        then, now = read_catalog(there), read_catalog(here)
        plan = plan_for(now, **changes)
        pairs = [Pair(_table(then, n), _table(now, n)) for n in plan.scope]
        version = there.info.server_version
        truth = AtTarget(
            fingerprints={str(p.name): fingerprint(there, p.at_target, oldest_version_num=version) for p in pairs},
            sequences=then.sequences,
            oldest_version_num=version,
        )
        yield there, here, Job("db", now, pairs, truth, plan.held_triggers, 200, 2)


def _table(catalog: Catalog, name: TableName) -> Any:
    found = catalog.table(name)
    assert found
    return found


def transport_of(kind: str, there: Session, source: Database, job: Job, tmp_path: Path) -> RowTransport:
    if kind == "copy":
        return CopyTransport(there)
    tools = find_client_tools(server_major=there.info.server_version // 10000, tls=False)
    directory = tmp_path / "dump"
    pids: list[int] = []
    size = dump_tables(tools, source.target(), job.filled, directory, encoding="UTF8", started=pids.append)
    assert size > 0
    assert len(pids) == 1
    return DumpTransport(tools, directory)


def ignore(done: Loaded) -> None:
    """Nothing to record."""
