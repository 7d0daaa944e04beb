"""2,000 tables and partitions, each with a key, an index and rows, whose schema was dropped with CASCADE.

The whole command on the lab, of which the steps count that are rowback's own: what is missing, the plan, and the load
with the proof before its commit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from benchmarks.bench_lab import INSTANCE, NOW, THEN, Bench, Line, seconds, shell
from recovery.model.target import format_utc
from runbooks.lab.background import pass_a_second
from tests.fix_lab import rds_client, wait_until

FULL, ROWS, AT_ONCE = 2_000, 100, 100
PLANNING, MAKING = ("read-target", "diff"), ("load",)


def measure(bench: Bench) -> list[Line]:
    count = max(40, int(FULL * bench.share))
    _raise_locks(bench)
    bench.build("create schema app", *_chunks(_definitions(count)))
    bench.run("postgres", f"create database {NOW} template {THEN}")
    names = [f"app.t{n}" for n in range(count // 2)] + [f"app.p_{n}" for n in range(count // 2)]
    held, took = bench.sums(THEN, names), _recreated(bench)
    assert bench.sums(NOW, names) == held
    bench.run(NOW, "drop schema app cascade")
    dump = f'"{bench.tools}/pg_dump" -Fc -n app "{bench.dsn(THEN)}" | "{bench.tools}/pg_restore" -d "{bench.dsn(NOW)}"'
    theirs = seconds(lambda: shell(dump))
    assert bench.sums(NOW, names) == held
    planned, made = (sum(took[step] for step in steps) for steps in (PLANNING, MAKING))
    what = f"{count:,} dropped tables and partitions of {ROWS} rows"
    return [
        Line(f"{what}: what is missing, and the plan", f"{planned:.1f} s", goal="≤ 10 s of 2,000"),
        Line(
            f"{what}: made and proven before the commit, against `pg_dump -Fc \\| pg_restore`",
            f"{made:.1f} s",
            f"{theirs:.1f} s",
            f"{made / theirs:.2f}× the time",
            "≤ 1.3×",
        ),
    ]


def _raise_locks(bench: Bench) -> None:
    """Room for locks on every table, index and TOAST table at once, as an RDS instance of that size has."""
    rds, group = rds_client(bench.lab), "many-tables"
    family = f"postgres{bench.lab.engine.tools.major}"
    rds.create_db_parameter_group(DBParameterGroupName=group, DBParameterGroupFamily=family, Description="bench")
    wanted = {"ParameterName": "max_locks_per_transaction", "ParameterValue": "1024", "ApplyMethod": "pending-reboot"}
    rds.modify_db_parameter_group(DBParameterGroupName=group, Parameters=[wanted])
    rds.modify_db_instance(DBInstanceIdentifier=INSTANCE, DBParameterGroupName=group, ApplyImmediately=True)
    instance = bench.lab.engine.instances[INSTANCE]
    wait_until(lambda: instance.status == "available", "its new group")
    rds.reboot_db_instance(DBInstanceIdentifier=INSTANCE)
    wait_until(lambda: instance.status == "available" and not instance.pending_reboot, "its restart")


def _recreated(bench: Bench) -> dict[str, float]:
    """The seconds of each step."""
    target = pass_a_second()
    bench.run(NOW, "drop schema app cascade")
    environment = {
        **os.environ,
        **bench.lab.environment(),
        "PGPASSWORD": bench.password,
        "ROWBACK_HOME": str(bench.scratch / f"home-{datetime.now(UTC):%H%M%S%f}"),
    }
    command = [sys.executable, "-m", "recovery.cli", "restore", INSTANCE, "--at", format_utc(target)]
    options = ["--database", NOW, "--mode", "recreate", "--wait-for-window", "1m", "--confirm", NOW, "--json"]
    done = subprocess.run([*command, *options], env=environment, check=True, stdout=subprocess.PIPE, text=True)
    report = json.loads(done.stdout)
    return {phase["step"]: phase["seconds"] for phase in report["phases"]}


def _definitions(count: int) -> Iterator[str]:
    for n in range(count // 2):
        yield f"create table app.t{n} (id int primary key, a text, at timestamptz default now())"
        yield f"insert into app.t{n} select g, md5(g::text) from generate_series(1, {ROWS}) g"
        yield f"create index on app.t{n} (a)"
    yield "create table app.p (id int, part int, a text, primary key (id, part)) partition by list (part)"
    for n in range(count // 2):
        yield f"create table app.p_{n} partition of app.p for values in ({n})"
    yield f"insert into app.p select g, g % {count // 2}, md5(g::text) from generate_series(1, {ROWS * count // 2}) g"


def _chunks(statements: Iterable[str]) -> list[str]:
    listed = list(statements)
    return ["; ".join(listed[start : start + AT_ONCE]) for start in range(0, len(listed), AT_ONCE)]
