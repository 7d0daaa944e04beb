"""One measured act in a process of its own: python -m benchmarks.ours ACT NOW THEN SCRATCH BOUNDARY [XID …]"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from recovery.changeset.change_set import ChangeSet
from recovery.compare.inquiry import Inquiry
from recovery.compare.make_repair_plan import make_repair_plan
from recovery.model.catalog import Sequence
from recovery.model.instance import Endpoint
from recovery.model.load_order import load_order
from recovery.model.load_strategy import SWAPPING, LoadStrategy
from recovery.model.modes.reload_mode import Mode
from recovery.model.recovery_plan import PlannedTable, Why
from recovery.model.repair_plan import RepairRequest
from recovery.model.values import TableName
from recovery.postgres.connect import Session, connect
from recovery.postgres.connection_target import Target
from recovery.postgres.copy_rows import CopyTransport, Pair
from recovery.postgres.fingerprint import fingerprint
from recovery.postgres.read_catalog import nonempty, read_catalog
from recovery.reload.build_hidden import BuildSite, SwapSchemas, build_hidden
from recovery.reload.load_by_swap import load_by_swap, rehearse, why_no_swap
from recovery.reload.load_in_place import choose_indexes, drop_before_load
from recovery.reload.load_job import AtTarget, DroppedIndexes, Job, Loaded, Repair
from recovery.reload.load_transaction import load
from recovery.reload.reverse_load import invert, plan_undo
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


@dataclass(frozen=True)
class Act:
    """The databases at both times, where the files are, the first transaction after T, and those of the incident."""

    now: Target
    live: Session
    copy: Session
    scratch: Path
    boundary: int
    xids: tuple[int, ...]

    def compare(self, request: RepairRequest, boundary: int | None) -> float:
        catalog = read_catalog(self.live)
        tables = tuple(
            PlannedTable(name=t.name, why=Why.NAMED, because="", bytes_now=0, empty=False) for t in catalog.tables
        )
        plan = plan_for(catalog).model_copy(update={"tables": tables})
        path = self.scratch / "changes.sqlite"
        path.unlink(missing_ok=True)
        with ChangeSet(path) as changes:
            make_repair_plan(self.live, self.copy, Inquiry("bench", plan, request, [], 1, boundary), changes)
        return 0.0

    def apply(self) -> float:
        with ChangeSet(self.scratch / "changes.sqlite") as changes:
            loaded = self._load([], Repair(changes, 1, SCHEMA), read_catalog(self.copy).sequences)
        (self.scratch / "loaded.json").write_text(loaded.model_dump_json())
        return loaded.seconds_locked

    def undo(self) -> float:
        """Undo the last load: plan it, mark the rows that cannot be undone, write the others."""
        loaded = Loaded.model_validate_json((self.scratch / "loaded.json").read_text())
        path = self.scratch / "undo.sqlite"
        path.unlink(missing_ok=True)
        source = self.scratch / "changes.sqlite" if loaded.written else None
        with ChangeSet(path) as changes, ExitStack() as opened:
            source_changes = opened.enter_context(ChangeSet(source)) if source else None
            catalog = read_catalog(self.live)
            invert(self.live, catalog, loaded, source_changes, changes)
            plan = plan_undo(self.live, catalog, changes, case="bench", number=2, request=RepairRequest())
            done = self._load([], Repair(changes, 2, SCHEMA, plan.lifted, plan.changes_digest, plan.columns), ())
        return done.seconds_locked

    def fill(self, strategy: LoadStrategy, filled: Collection[TableName]) -> float:
        """Every table but the `filled` ones loaded whole, parents first, as `restore --load` does it."""
        catalog, version = read_catalog(self.live), self.live.info.server_version
        tables = {t.name: t for t in catalog.tables if t.name not in filled}
        pairs = [Pair(tables[name], tables[name]) for name in load_order(tables, catalog)[0]]
        prints = {str(t.name): fingerprint(self.copy, t, oldest_version_num=version) for t in tables.values()}
        truth = AtTarget(fingerprints=prints, sequences=(), oldest_version_num=version)
        rows = {name: prints[str(name)].rows for name in tables}
        job, transport = Job("bench", catalog, pairs, truth, (), 5000, 3), CopyTransport(self.copy)
        if strategy in SWAPPING and not why_no_swap(self.live, rows):
            schemas = SwapSchemas(f"{SCHEMA}_swap", f"{SCHEMA}_old")
            rehearse(self.live, job, schemas)
            site = BuildSite(schemas, partial(connect, self.now))
            ready = build_hidden(self.live, job, transport, site)
            loaded = load_by_swap(self.live, job, ready, schemas, before_commit=_unnoted)
        else:
            indexes, _ = choose_indexes(self.live, rows, strategy)
            dropped = DroppedIndexes(SCHEMA, drop_before_load(self.live, SCHEMA, indexes, lambda text: None))
            loaded = load(self.live, replace(job, dropped_indexes=dropped), transport, before_commit=_unnoted)
        (self.scratch / "loaded.json").write_text(loaded.model_dump_json())
        return loaded.seconds_locked

    def _load(self, fills: list[Pair], repair: Repair, sequences: tuple[Sequence, ...]) -> Loaded:
        truth = AtTarget(fingerprints={}, sequences=sequences, oldest_version_num=self.live.info.server_version)
        job = Job("bench", read_catalog(self.live), fills, truth, (), 5000, 3, repair)
        return load(self.live, job, None, before_commit=_unnoted)


def _unnoted(done: Loaded) -> None:
    """No journal here."""


def perform(what: str, act: Act) -> float:
    """Seconds for which writers waited."""
    match what:
        case "lineage" | "buckets":
            return act.compare(RepairRequest(), act.boundary if what == "lineage" else None)
        case "repair":
            return act.compare(RepairRequest(mode=Mode.REPAIR, incident_xids=act.xids), act.boundary)
        case "apply":
            return act.apply()
        case "undo":
            return act.undo()
        case "swap-under-load":
            return act.fill(LoadStrategy.SWAP, ())
        case _:
            filled = nonempty(act.live, [table.name for table in read_catalog(act.live).tables])
            return act.fill(LoadStrategy(what), filled)


def main(what: str, now: str, then: str, scratch: str, *numbers: str) -> Measured:
    boundary, *xids = map(int, numbers)
    with connect(target(now)) as live, connect(target(then)) as copy:
        began = time.perf_counter()
        locked = perform(what, Act(target(now), live, copy, Path(scratch), boundary, tuple(xids)))
        took = time.perf_counter() - began
    return Measured(took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, locked)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(main(*sys.argv[1:]))))
