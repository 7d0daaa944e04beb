"""What can be wrong with a login, a server, a database and this machine."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recovery.store.drill_history import DrillRecord
from tests.fix_lab import wait_until
from tests.scenarios.doctor.doctor_lab import (
    DoctorLab,
    changed,
    problem,
    reboot,
    role,
    settings,
    warning,
)


@problem("login")
def wrong_password(doctor_lab: DoctorLab) -> Iterator[None]:
    doctor_lab.environment["PGPASSWORD"] = "wrong"
    yield


@problem("reachability")
def nobody_listens(doctor_lab: DoctorLab) -> Iterator[None]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with changed(doctor_lab.instance.cluster, port=taken.getsockname()[1]):
            yield


@problem("tls")
def another_authority(doctor_lab: DoctorLab) -> Iterator[None]:
    from runbooks.lab.tls import create_authority

    bundle = doctor_lab.place / "other.pem"
    bundle.write_text(create_authority().bundle)
    doctor_lab.profile(f'sslmode = "verify-full"\nca_bundle = "{bundle}"')
    yield


@problem("connections")
def crowded(doctor_lab: DoctorLab) -> Iterator[None]:
    with ExitStack() as stack, doctor_lab.admin() as admin:
        row = admin.execute("select current_setting('max_connections')::int - 7").fetchone()
        assert row
        for _ in range(row[0]):
            stack.enter_context(doctor_lab.live.connect())
        count = "select count(*) > %s from pg_stat_activity where backend_type = 'client backend'"
        wait_until(lambda: admin.execute(count, row).fetchone() == (True,), "nearly all sessions")
        yield


@problem("privileges")
def somebody_elses_table(doctor_lab: DoctorLab) -> Iterator[None]:
    with role(doctor_lab, f"grant create on database {doctor_lab.database.name} to clerk", "grant pg_monitor to clerk"):
        yield


@problem("schema-privilege")
def no_schema(doctor_lab: DoctorLab) -> Iterator[None]:
    with role(doctor_lab, "grant all on people to clerk", "grant pg_monitor to clerk"):
        yield


@warning("logging")
def nothing_logged(doctor_lab: DoctorLab) -> Iterator[None]:
    with settings(doctor_lab, log_statement="none"):
        yield


@warning("logging")
def errors_hidden(doctor_lab: DoctorLab) -> Iterator[None]:
    with settings(doctor_lab, log_min_messages="panic"):
        yield


@warning("log-retention")
def logs_go_soon(doctor_lab: DoctorLab) -> Iterator[None]:
    with settings(doctor_lab, rds__log_retention_period="60"):
        yield


@warning("commit-timestamps")
def no_commit_timestamps(doctor_lab: DoctorLab) -> Iterator[None]:
    doctor_lab.lab.engine.parameters["well"].values["track_commit_timestamp"] = "off"
    reboot(doctor_lab)
    yield
    doctor_lab.lab.engine.parameters["well"].values["track_commit_timestamp"] = "on"
    reboot(doctor_lab)


@warning("keys")
def no_key(doctor_lab: DoctorLab) -> Iterator[None]:
    doctor_lab.database.run('create table "Weird Name; --" ("t" int)')
    yield


@problem("row-security")
def rows_hidden(doctor_lab: DoctorLab) -> Iterator[None]:
    doctor_lab.database.run(
        "alter table people enable row level security", "alter table people force row level security"
    )
    yield


@warning("unlogged")
def unlogged_table(doctor_lab: DoctorLab) -> Iterator[None]:
    doctor_lab.database.run("create unlogged table cache (id int primary key)")
    yield


@warning("large-objects")
def large_objects(doctor_lab: DoctorLab) -> Iterator[None]:
    doctor_lab.database.run("select lo_create(4711)")
    yield


@problem("foreign-key-cycles")
def cycle(doctor_lab: DoctorLab) -> Iterator[None]:
    doctor_lab.database.run(
        "create table firms (id int primary key, head int not null references people)",
        "alter table people add firm int not null references firms",
    )
    grants = [f"grant create on database {doctor_lab.database.name} to clerk", "grant all on people, firms to clerk"]
    grants += ["grant pg_monitor to clerk"]
    with role(doctor_lab, *grants):
        yield


@warning("replication-slots")
def nobody_reads(doctor_lab: DoctorLab) -> Iterator[None]:
    with doctor_lab.admin() as admin:
        admin.execute("select pg_create_physical_replication_slot('gone', true)")
        yield
        admin.execute("select pg_drop_replication_slot('gone')")


@problem("subscriptions")
def subscribed(doctor_lab: DoctorLab) -> Iterator[None]:
    with doctor_lab.admin(doctor_lab.database.name) as admin:
        admin.execute("create subscription news connection 'port=1' publication p with (connect = false)")
        admin.execute("alter subscription news enable")
        yield
        admin.execute("alter subscription news disable")
        admin.execute("alter subscription news set (slot_name = none)")
        admin.execute("drop subscription news")


@problem("references")
def reference_to_nowhere(doctor_lab: DoctorLab) -> Iterator[None]:
    doctor_lab.profile("")
    path = Path(doctor_lab.environment["ROWBACK_CONFIG"])
    name = doctor_lab.database.name
    path.write_text(
        f'{path.read_text()}[[reference]]\nfrom = "{name}.public.people.gone"\nto = "{name}.public.people.id"\n'
    )
    yield


@problem("client-programs")
def no_pg_dump(doctor_lab: DoctorLab) -> Iterator[None]:
    (doctor_lab.place / "empty").mkdir()
    doctor_lab.environment["ROWBACK_PG_BIN"] = str(doctor_lab.place / "empty")
    yield


@problem("state-directory")
def nowhere_to_write(doctor_lab: DoctorLab) -> Iterator[None]:
    doctor_lab.environment["ROWBACK_HOME"] = "/proc/self/nowhere"
    yield


@problem("disk")
def disk_full(doctor_lab: DoctorLab) -> Iterator[None]:
    small = doctor_lab.place / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("needs root and the right to mount a small tmpfs")
    (doctor_lab.cli.home / "drills").rename(doctor_lab.place / "drills")
    (small / "drills").mkdir()
    (small / "drills" / "one.json").write_bytes((doctor_lab.place / "drills" / "one.json").read_bytes())
    doctor_lab.environment["ROWBACK_HOME"] = str(small)
    try:
        yield
    finally:
        subprocess.run(["umount", small], check=True)


@warning("drill")
def drill_long_ago(doctor_lab: DoctorLab) -> Iterator[None]:
    path = doctor_lab.cli.home / "drills" / "one.json"
    old = DrillRecord.model_validate_json(path.read_text()).model_copy(update={"at": datetime(2026, 1, 1, tzinfo=UTC)})
    path.write_text(old.model_dump_json())
    yield


@warning("drill")
def drilled_on_the_lab_alone(doctor_lab: DoctorLab) -> Iterator[None]:
    """It says nothing of this instance, its size and its backups."""
    path = doctor_lab.cli.home / "drills" / "one.json"
    path.write_text(path.read_text().replace(f'"{doctor_lab.live.identifier}"', '"lab"'))
    yield


@warning("cases")
def broken_journal(doctor_lab: DoctorLab) -> Iterator[None]:
    (doctor_lab.cli.home / "cases" / "20260101-000000-abcd").mkdir(parents=True)
    (doctor_lab.cli.home / "cases" / "20260101-000000-abcd" / "journal.jsonl").write_text("{}\n")
    yield
