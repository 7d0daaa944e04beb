"""A swap is killed, cut off or given up at every step: nothing is half visible, nothing is left, no row is lost.

What depends on the tables is compared by pg_dump, the rows by checksums of the test's own.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.in_place import SIGNAL_AT, STRIKE_AT, Incident, assert_as_it_was, assert_recovered, digest_of
from tests.faults.swap import PUBLIC, incident, killed, opening, swapping
from tests.fix_cli import Cli, the_case
from tests.fix_lab import Database, wait_until
from tests.schema_dump import definitions

__all__ = ["incident"]
pytestmark = pytest.mark.matrix

PLACES = [
    ("hidden.building", "-"),
    ("load.intent", "-"),
    ("hidden.copied", "-"),
    ("hidden.copied#2", "-"),
    ("hidden.ended", "-"),
    ("step.done", "load"),
]
BEGUN = PLACES[:4]  # and not committed
BUILT = "select array_agg(c.oid order by c.oid)"
INDEXES = "relname in ('by_body', 't_pkey', 'p_pkey')"
GONE = "select count(*) from pg_stat_activity where application_name = 'rowback'"
ALTERED = ["alter table t add check (n > 0)", "create index late on t (p)", "grant insert on p to public"]
HIDDEN = "from pg_class c join pg_namespace n on n.oid = relnamespace where nspname ~ '_swap$'"


def test_not_interrupted(cli: Cli, database: Database, incident: Incident) -> None:
    ran = cli(*swapping(cli, database, incident))
    assert ran.code == 0, ran.err
    assert "built beside the tables under hidden names, then exchanged; in place where that cannot be" in ran.err
    assert "2 tables to be loaded whole and swapped in, nothing else differs" in ran.err
    assert "4,000 rows, 3 indexes built, 2 tables swapped, tables locked for" in ran.err
    assert_recovered(cli, database, incident)


@pytest.mark.parametrize(("event", "step"), PLACES)
def test_killed_and_resumed(cli: Cli, database: Database, incident: Incident, event: str, step: str) -> None:
    case = killed(cli, database, incident, event, step)
    resumed = cli("resume", case)
    assert resumed.code == 0, resumed.err
    assert_recovered(cli, database, incident)


@pytest.mark.parametrize(("event", "step"), BEGUN)
def test_killed_and_given_up(cli: Cli, database: Database, incident: Incident, event: str, step: str) -> None:
    case = killed(cli, database, incident, event, step)
    database.run("insert into p overriding system value values (5, 1)")
    closed = cli("close", case)
    assert (closed.code, closed.out) == (0, f"case {case}: closed without change\n"), closed.err
    assert_as_it_was(database, incident)
    assert database.rows("select * from p") == [(5, 1)]


@pytest.mark.parametrize(("event", "step"), BEGUN)
def test_interrupted_nothing_is_left(cli: Cli, database: Database, incident: Incident, event: str, step: str) -> None:
    process = cli.start("SIGINT", event, step, *swapping(cli, database, incident), module=SIGNAL_AT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert_as_it_was(database, incident)
    resumed = cli("resume", the_case(cli)["case"])
    assert resumed.code == 0, resumed.err
    assert "2 tables swapped" in resumed.err, "what was removed is made anew"
    assert_recovered(cli, database, incident)


def test_hidden_tables_that_somebody_removed_are_made_anew(cli: Cli, database: Database, incident: Incident) -> None:
    case = killed(cli, database, incident, "load.intent", "-")
    database.run(f"drop schema rowback_case_{case.replace('-', '_')}_swap cascade")
    resumed = cli("resume", case)
    assert resumed.code == 0, resumed.err
    assert "2 tables swapped" in resumed.err
    assert_recovered(cli, database, incident)


@pytest.mark.parametrize("ending", ["SIGINT", "SIGKILL"])
def test_below_a_rate_it_goes_on_as_well(cli: Cli, database: Database, incident: Incident, ending: str) -> None:
    opened = cli("open", *opening(cli, database, incident))
    assert opened.code == 0, opened.err
    case = opened.out.strip()
    applying = ("apply", case, digest_of(cli, case), "--confirm", database.name, "--max-wal-rate", "1GB")
    process = cli.start(ending, "hidden.copied#2", "-", *applying, module=SIGNAL_AT)
    process.communicate(timeout=120)
    resumed = cli("resume", case)
    assert resumed.code == 0, resumed.err
    assert "2 tables swapped" in resumed.err
    assert {query: database.rows(query) for query in incident.held} == incident.held


def test_rows_of_others_that_were_followed_are_followed_anew(cli: Cli, database: Database, incident: Incident) -> None:
    """They are in the hidden tables when the attempt is cut off, beside T's."""
    process = cli.start("SIGSTOP", "hidden.copied#2", "-", *swapping(cli, database, incident), module=SIGNAL_AT)
    wait_until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].startswith("T"), "it stops")
    with database.connect() as reader, reader.transaction():
        reader.execute("select from t")  # so that there is no exchange
        database.run("insert into p overriding system value values (5000, 1)")
        process.send_signal(signal.SIGCONT)
        ((hidden,),) = database.rows(f"select c.oid::regclass::text {HIDDEN} and relkind = 'r' and relname = 'p'")
        followed = f"select count(*) from {hidden} where id = 5000"
        wait_until(lambda: database.rows(followed) == [(1,)], "it is followed")
        database.run("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'rowback'")
        _, err = process.communicate(timeout=120)
    assert "what was built stays in schema" in err
    database.run("insert into t (n, p, body) values (9000, 5000, 'theirs')")
    resumed = cli("resume", the_case(cli)["case"])
    assert resumed.code == 0, resumed.err
    assert "2 tables swapped" in resumed.err
    assert database.rows("select n, body from t where p = 5000") == [(9000, "theirs")]
    assert {query: database.rows(query) for query in incident.held} == incident.held


@pytest.mark.parametrize(("event", "step"), BEGUN)
@pytest.mark.parametrize("then", ["resume", "close"])
def test_cut_off_nothing_is_lost(
    cli: Cli, database: Database, incident: Incident, event: str, step: str, then: str
) -> None:
    """Every session of rowback is terminated on the server; what was built stays for `resume`."""
    victim = {"STRIKE_DSN": database.superuser_dsn}
    process = cli.start(event, step, *swapping(cli, database, incident), module=STRIKE_AT, **victim)
    _, err = process.communicate(timeout=120)
    assert process.returncode not in {0, 1}, err
    case = the_case(cli)["case"]
    schema = f"rowback_case_{case.replace('-', '_')}_swap"
    assert (
        f"what was built stays in schema {schema}: rowback resume {case} goes on with it, rowback close {case}"
        " removes it" in err
    )
    assert database.rows("select count(*) from p") == [(0,)]
    done = cli(then, case)
    assert done.code == 0, done.err
    if then == "close":
        assert_as_it_was(database, incident)
    else:
        assert_recovered(cli, database, incident)


def test_rows_that_were_copied_are_not_copied_again(cli: Cli, database: Database, incident: Incident) -> None:
    case = killed(cli, database, incident, "hidden.copied#2", "-")
    wait_until(lambda: database.rows(GONE) == [(0,)], "the server ends its sessions")
    ((name,),) = database.rows(f"select c.oid::regclass::text {HIDDEN} and relkind = 'r' and relname = 'p'")
    ((xmin,),) = database.rows(f"select distinct xmin::text from {name}")
    resumed = cli("resume", case)
    assert resumed.code == 0, resumed.err
    assert database.rows("select distinct xmin::text from p") == [(xmin,)]
    assert database.rows(f"select count(distinct xmin::text), min(xmin::text) <> '{xmin}' from t") == [(1, True)]
    assert_recovered(cli, database, incident)


@pytest.mark.parametrize("change", ALTERED)
def test_tables_that_were_altered_meanwhile_are_made_anew(
    cli: Cli, database: Database, incident: Incident, change: str
) -> None:
    case = killed(cli, database, incident, "load.intent", "-")
    database.run(change)
    altered = definitions(database, *PUBLIC)
    resumed = cli("resume", case)
    assert resumed.code == 0, resumed.err
    assert "2 tables swapped" in resumed.err
    assert definitions(database, *PUBLIC) == altered
    assert {query: database.rows(query) for query in incident.held} == incident.held


def test_rows_that_somebody_changed_under_the_hidden_name_are_not_swapped_in(
    cli: Cli, database: Database, incident: Incident
) -> None:
    case = killed(cli, database, incident, "load.intent", "-")
    ((name,),) = database.rows(f"select c.oid::regclass::text {HIDDEN} and relkind = 'r' and relname = 't'")
    database.run(f"update {name} set body = 'other' where n = 9")
    resumed = cli("resume", case)
    assert resumed.code == 0, resumed.err
    why = "public.t: 3000 rows at T, 2999 loaded, checksum differs"
    assert f"the tables are not swapped, they are loaded in place: {why}" in resumed.err
    assert_recovered(cli, database, incident)


@contextmanager
def stopped_while_building(cli: Cli, database: Database, incident: Incident) -> Iterator[subprocess.Popen[str]]:
    """A process whose tables are built, and that waits for a lock on a table that they reference."""
    process = cli.start("SIGSTOP", "hidden.building", "-", *swapping(cli, database, incident), module=SIGNAL_AT)
    wait_until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].startswith("T"), "it stops")
    with database.connect() as other, other.transaction():
        other.execute("lock table space in row exclusive mode")
        process.send_signal(signal.SIGCONT)
        hidden = "select count(*) from pg_class c join pg_namespace n on n.oid = relnamespace where nspname ~ '_swap$'"
        wait_until(
            lambda: database.rows(f"{hidden} and relname in ('by_body', 't_pkey', 'p_pkey')") == [(3,)], "its indexes"
        )
        waiting = "select count(*) from pg_locks where not granted and relation = 'space'::regclass"
        wait_until(lambda: database.rows(waiting) == [(1,)], "it waits for the parents")
        yield process


def test_killed_while_it_builds(cli: Cli, database: Database, incident: Incident) -> None:
    with stopped_while_building(cli, database, incident) as process:
        database.run("insert into p (space) values (1)")  # nobody waits for it
        process.kill()
        process.communicate(timeout=120)
    case = the_case(cli)["case"]
    schema = f"rowback_case_{case.replace('-', '_')}_swap"
    assert f"schema {schema} may still have to be removed: resume and close do that first" in cli("status", case).out
    where = ("cleanup", database.live.identifier, "--database", database.name)
    assert f"{schema}" in cli(*where).out
    assert "is open and may be undone" in cli(*where, "--case", case, "--confirm", database.name).out
    database.run("truncate p, t")
    built = database.rows(f"{BUILT} {HIDDEN} and {INDEXES}")
    resumed = cli("resume", case)
    assert resumed.code == 0, resumed.err
    assert database.rows(f"{BUILT} from pg_class c where {INDEXES}") == built, "none is built again"
    assert_recovered(cli, database, incident)


def test_interrupted_while_it_builds(cli: Cli, database: Database, incident: Incident) -> None:
    with stopped_while_building(cli, database, incident) as process:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 130, err
        assert_as_it_was(database, incident)
    resumed = cli("resume", the_case(cli)["case"])
    assert resumed.code == 0, resumed.err
    assert_recovered(cli, database, incident)


def test_its_machine_is_lost(cli: Cli, database: Database, incident: Incident) -> None:
    """What it left keeps parents from being deleted; whoever meets that finds the case's id, and cleanup removes it."""
    with stopped_while_building(cli, database, incident) as process:
        process.kill()
        process.communicate(timeout=120)
    case = the_case(cli)["case"]
    (cli.home / "cases" / case).rename(cli.home / "lost")
    where = ("cleanup", database.live.identifier, "--database", database.name)
    assert "its case is not on this machine" in cli(*where).out
    swept = cli(*where, "--case", case, "--confirm", database.name)
    assert "removed" in swept.out
    assert_as_it_was(database, incident)


def test_undone(cli: Cli, database: Database, incident: Incident) -> None:
    """The rows of T go, those that others wrote since stay, and the parents of those."""
    before = definitions(database, *PUBLIC)
    ran = cli(*swapping(cli, database, incident))
    assert ran.code == 0, ran.err
    database.run("insert into p (space) values (1)", "insert into t (p, body) select max(id), 'mine' from p")
    undone = cli("undo", the_case(cli)["case"], "--confirm", database.name)
    assert undone.code == 0, undone.err
    assert database.rows("select p = id, id > 1000, n > 3000, body from t join p on true") == [
        (True, True, True, "mine")
    ]
    assert definitions(database, *PUBLIC) == before


def test_a_row_that_was_changed_since_is_not_undone(cli: Cli, database: Database, incident: Incident) -> None:
    ran = cli(*swapping(cli, database, incident))
    assert ran.code == 0, ran.err
    database.run("update t set body = 'changed' where n = 9")
    undone = cli("undo", the_case(cli)["case"], "--confirm", database.name)
    assert "public.p  1 row stays: it is still referenced from public.t" in undone.err
    assert database.rows("select count(*) from t") == [(3000,)]
    cli("undo", the_case(cli)["case"], "--accept-partial", "--confirm", database.name)
    assert database.rows("select n, p, body from t where body = 'changed'") == [(9, 10, "changed")]
    assert database.rows("select id from p") == [(10,)]
