"""One measured act of rowback in a process of its own: python -m benchmarks.ours ACT NOW THEN BOUNDARY SCRATCH"""

from __future__ import annotations

import json
import resource
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from recovery.changeset.change_set import ChangeSet
from recovery.compare.make_repair_plan import Inquiry, make_repair_plan
from recovery.model.instance import Endpoint
from recovery.model.load_strategy import LoadStrategy
from recovery.model.recovery_plan import PlannedTable, Why
from recovery.model.repair_plan import RepairRequest
from recovery.postgres.connect import Session, connect
from recovery.postgres.connection_target import Target
from recovery.postgres.copy_rows import CopyTransport, Pair
from recovery.postgres.fingerprint import fingerprint
from recovery.postgres.read_catalog import nonempty, read_catalog
from recovery.reload.load_in_place import choose_indexes, drop_before_load
from recovery.reload.load_job import AtTarget, DroppedIndexes, Job, Repair
from recovery.reload.load_transaction import load
from tests.fix_plan import plan_for

SCHEMA = "rowback_case_bench"


@dataclass(frozen=True)
class Measured:
    """How long it took, the process's peak memory, and how long writers had to wait."""

    seconds: float
    peak_mib: float
    locked_s: float = 0.0


def target(dsn: str) -> Target:
    parts = conninfo_to_dict(dsn)
    return Target(
        "bench",
        Endpoint(host=str(parts["host"]), port=int(str(parts["port"]))),
        str(parts["dbname"]),
        str(parts["user"]),
        str(parts["password"]),
    )


def compare(live: Session, copy: Session, boundary: int | None, scratch: Path) -> None:
    catalog = read_catalog(live)
    tables = tuple(
        PlannedTable(name=t.name, why=Why.NAMED, because="", bytes_now=0, empty=False) for t in catalog.tables
    )
    plan = plan_for(catalog).model_copy(update={"tables": tables})
    (scratch / "changes.sqlite").unlink(missing_ok=True)
    with ChangeSet(scratch / "changes.sqlite") as changes:
        make_repair_plan(live, copy, Inquiry("bench", plan, RepairRequest(), [], 1, boundary), changes)


def apply(live: Session, copy: Session, scratch: Path) -> float:
    truth = AtTarget(
        fingerprints={}, sequences=read_catalog(copy).sequences, oldest_version_num=live.info.server_version
    )
    with ChangeSet(scratch / "changes.sqlite") as changes:
        job = Job("bench", read_catalog(live), [], truth, (), 5000, 3, Repair(changes, 1, SCHEMA))
        return load(live, job, None, before_commit=lambda done: None).seconds_locked


def fill(live: Session, copy: Session, strategy: LoadStrategy) -> float:
    """Every empty table loaded whole, parents first, as `restore --load` does it."""
    catalog = read_catalog(live)
    version, filled = live.info.server_version, set(nonempty(live, [t.name for t in catalog.tables]))
    tables = [t for t in catalog.tables if t.name not in filled]
    prints = {str(t.name): fingerprint(copy, t, oldest_version_num=version) for t in tables}
    truth = AtTarget(fingerprints=prints, sequences=(), oldest_version_num=version)
    rows = {table.name: prints[str(table.name)].rows for table in tables}
    indexes, _ = choose_indexes(live, rows, strategy)
    dropped = DroppedIndexes(SCHEMA, drop_before_load(live, SCHEMA, indexes, lambda text: None))
    job = Job("bench", catalog, [Pair(t, t) for t in tables], truth, (), 5000, 3, dropped_indexes=dropped)
    return load(live, job, CopyTransport(copy), before_commit=lambda done: None).seconds_locked


def main(act: str, now: str, then: str, boundary: int, scratch: Path) -> Measured:
    with connect(target(now)) as live, connect(target(then)) as copy:
        began, locked = time.perf_counter(), 0.0
        match act:
            case "lineage":
                compare(live, copy, boundary, scratch)
            case "buckets":
                compare(live, copy, None, scratch)
            case "apply":
                locked = apply(live, copy, scratch)
            case _:
                locked = fill(live, copy, LoadStrategy(act))
        took = time.perf_counter() - began
    return Measured(took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, locked)


if __name__ == "__main__":
    what, now_dsn, then_dsn, first, directory = sys.argv[1:]
    sys.stdout.write(json.dumps(asdict(main(what, now_dsn, then_dsn, int(first), Path(directory)))))
