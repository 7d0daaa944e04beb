"""A swap where something is in the way: in place then, with the reason, and never a refusal that it would not make."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from recovery.reload.build_hidden import HiddenTables, build_hidden
from recovery.workflow.steps import swap_tables
from runbooks.lab.background import pass_a_second
from tests.faults.in_place import Incident, assert_recovered, digest_of
from tests.faults.swap import PUBLIC, QUERIES, incident, opening, swapping
from tests.fix_cli import Cli, restoring, the_case
from tests.fix_lab import Database, wait_until
from tests.schema_dump import checksum, definitions

__all__ = ["incident"]
pytestmark = pytest.mark.matrix
IN_PLACE = "the tables are not swapped, they are loaded in place"


def test_a_reader_that_stays(cli: Cli, database: Database, incident: Incident, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recovery.postgres.swap.brief_locks.PATIENCE_S", 0.5)
    monkeypatch.setattr("recovery.reload.load_in_place.PATIENCE_S", 0.5)
    with database.connect() as reader, reader.transaction():
        reader.execute("select count(*) from t")
        ran = cli(*swapping(cli, database, incident))
        assert ran.code == 0, ran.err
        assert f"{IN_PLACE}: the lock is not free: pid {reader.info.backend_pid} (" in ran.err
    assert_recovered(cli, database, incident)


def test_a_view_that_postgresql_prints_otherwise(cli: Cli, database: Database) -> None:
    database.run(
        "create table t (id int primary key, status varchar(20) not null)",
        "create view open_orders as select id from t where status in ('new', 'paid')",
        "insert into t select g, 'new' from generate_series(1, 60000) g",
    )
    before, target = definitions(database), pass_a_second()
    database.run("truncate t")
    ran = cli(*restoring(cli, database, target, "--table", "t"))
    assert ran.code == 0, ran.err
    assert f"{IN_PLACE}: it would not read as it did: view public.open_orders: " in ran.err
    assert database.rows("select count(*) from open_orders") == [(60000,)]
    assert definitions(database) == before


def test_the_default_for_many_rows(cli: Cli, database: Database) -> None:
    database.run(
        "create table t (id bigserial primary key, status text not null)",
        "insert into t (status) select 'new' from generate_series(1, 60000) g",
    )
    before, target = definitions(database), pass_a_second()
    database.run("truncate t")
    ran = cli(*restoring(cli, database, target, "--table", "t"))
    assert ran.code == 0, ran.err
    assert "60,000 rows, 1 index built, 1 table swapped, tables locked for 0." in ran.err
    assert "nothing to extract: rows are streamed" in ran.err
    assert database.rows("select count(*), sum(id) from t") == [(60000, 60000 * 60001 // 2)]
    assert definitions(database) == before


def test_a_published_table(cli: Cli, database: Database, incident: Incident) -> None:
    """Its subscribers would never see the rows."""
    database.run("create publication p for table t")
    ran = cli(*swapping(cli, database, incident))
    assert ran.code == 0, ran.err
    reason = "loaded in place, not swapped: public.t: it is published: subscribers would not see the rows"
    assert reason in ran.out
    assert "1 index built, tables locked for" in ran.err
    database.run("drop publication p")
    assert_recovered(cli, database, incident)


def test_rows_that_the_original_refuses_are_set_aside_one_by_one(
    cli: Cli, database: Database, incident: Incident
) -> None:
    database.run("alter table t add constraint few check (n <> 17)")
    before = definitions(database, *PUBLIC)
    ran = cli(*swapping(cli, database, incident), "--accept-partial")
    assert ran.code == 0, ran.err
    assert "recovered in part" in ran.out
    assert "3,999 rows back, 1 not" in ran.out
    assert database.rows("select count(*), count(*) filter (where n = 17) from t") == [(2999, 0)]
    assert database.rows(QUERIES[0]) == incident.held[QUERIES[0]]
    assert definitions(database, *PUBLIC) == before


def test_rows_that_came_with_the_same_key_are_seen_under_the_lock(
    cli: Cli, database: Database, incident: Incident
) -> None:
    """The application went on with numbers of its own, and they are some of T's."""
    case = cli("open", *opening(cli, database, incident)).out.strip()
    digest = digest_of(cli, case)
    database.run("insert into p overriding system value values (5, 1)")
    apply = cli("apply", case, digest, "--confirm", database.name)
    assert "hold rows now: public.p (1)" in apply.err, apply.err
    assert database.rows("select * from p") == [(5, 1)]
    again = cli("diff", case, "--again")
    assert again.code == 0, again.err


def test_the_application_goes_on_and_the_account_tells_of_its_rows(
    cli: Cli, database: Database, incident: Incident
) -> None:
    stop = threading.Event()
    written: list[int] = []
    errors: list[psycopg.Error] = []

    def write() -> None:
        try:
            with database.connect() as session:
                while not stop.is_set():
                    with session.transaction():
                        query = "insert into p (space) values (1) returning id"
                        ((parent,),) = session.execute(query).fetchall()
                        session.execute("insert into t (p, body) values (%s, 'mine')", (parent,))
                    written.append(parent)
        except psycopg.Error as error:
            errors.append(error)

    writer = threading.Thread(target=write)
    case = cli("open", *opening(cli, database, incident)).out.strip()
    digest = digest_of(cli, case)
    writer.start()
    try:
        wait_until(lambda: len(written) > 5, "it writes")
        ran = cli("apply", case, digest, "--confirm", database.name)
    finally:
        stop.set()
        writer.join()
    assert errors == []
    assert ran.code == 0, ran.err
    assert "2 tables swapped" in ran.err
    assert [parent for (parent,) in database.rows("select id from p where id > 1000 order by 1")] == sorted(written)
    assert database.rows("select count(*) from t where body = 'mine'") == [(len(written),)]
    assert {query: database.rows(query) for query in QUERIES} == incident.held
    assert definitions(database) == incident.definitions


def test_a_table_that_was_empty_at_t_stays_the_one_it_is(cli: Cli, database: Database, incident: Incident) -> None:
    database.run("create table down (id int primary key, p int references p)")
    before = definitions(database)
    oids = "select 'down'::regclass::oid, 'space'::regclass::oid"
    held, swapped = database.rows(oids), database.rows("select 'p'::regclass::oid")
    database.run("insert into p overriding system value select g, 1 from generate_series(1, 50) g")
    at = pass_a_second()
    database.run("truncate p, t, down")
    ran = cli(*restoring(cli, database, at, "--load", "swap"))
    assert ran.code == 0, ran.err
    assert "1 table swapped" in ran.err
    assert database.rows(oids) == held
    assert database.rows("select 'p'::regclass::oid") != swapped
    assert database.rows("select count(*), sum(id) from p") == [(50, 1275)]
    database.run("insert into down values (1, 50)")
    assert definitions(database) == before


def test_what_cannot_be_removed_keeps_the_case_open(
    cli: Cli, database: Database, incident: Incident, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its keys would keep others from deleting parents, and a closed case is asked nothing any more."""
    monkeypatch.setattr("recovery.postgres.swap.brief_locks.PATIENCE_S", 0.5)
    with database.connect() as reader:

        def built(*given: Any) -> HiddenTables:
            ready = build_hidden(*given)
            reader.execute("begin")
            reader.execute("select count(*) from space")
            return ready

        monkeypatch.setattr(swap_tables, "build_hidden", built)
        ran = cli(*swapping(cli, database, incident))
        case = the_case(cli)["case"]
        schema = f"rowback_case_{case.replace('-', '_')}_swap"
        assert f"{IN_PLACE}: the lock is not free: pid {reader.info.backend_pid} (" in ran.err
        assert f"error[lock-not-granted]: schema {schema} cannot be removed" in ran.err
        assert "  the rows were put back and committed; the copy is removed, the case stays open\n" in ran.err
        assert f"once the tables are free: rowback resume {case}, or rowback close {case}" in ran.err
        assert {query: database.rows(query) for query in QUERIES} == incident.held
        assert the_case(cli)["outcome"] == "open"
        reader.execute("rollback")
    resumed = cli("resume", case)
    assert resumed.code == 0, resumed.err
    assert_recovered(cli, database, incident)


def test_a_role_that_may_not_have_more_sessions(cli: Cli, database: Database, incident: Incident) -> None:
    database.as_superuser("alter role postgres connection limit 4")
    try:
        ran = cli(*swapping(cli, database, incident))
    finally:
        database.as_superuser("alter role postgres connection limit -1")
    assert ran.code == 0, ran.err
    assert_recovered(cli, database, incident)


def test_children_of_more_parents_than_are_asked_for_at_once(
    cli: Cli, database: Database, incident: Incident, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy was asked for parents while it was still giving out the children's keys, and never answered."""
    monkeypatch.setattr("recovery.changeset.move_targets.CHUNK", 50)
    ran = cli(*swapping(cli, database, incident))
    assert ran.code == 0, ran.err
    assert "2 tables swapped" in ran.err
    assert_recovered(cli, database, incident)


def test_a_swap_keeps_below_a_rate(cli: Cli, database: Database, incident: Incident) -> None:
    rate, position = 3_000_000, "select pg_current_wal_insert_lsn()::text, clock_timestamp()::text"
    database.run(
        "insert into p overriding system value values (1, 1)",
        "insert into t (p, body) select 1, repeat(md5(g::text), 3) from generate_series(1, 60000) g",
    )
    rows = checksum(database, "t")
    target = pass_a_second()
    database.run("truncate t")
    opened = cli("open", *opening(cli, database, replace(incident, target=target)))
    assert opened.code == 0, opened.err
    case = opened.out.strip()
    digest = digest_of(cli, case)
    ((before, began),) = database.rows(position)
    ran = cli("apply", case, digest, "--confirm", database.name, "--max-wal-rate", str(rate))
    assert ran.code == 0, ran.err
    assert "1 table swapped" in ran.err
    ((written, seconds),) = database.rows(
        f"select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '{before}')::bigint,"
        f" extract(epoch from clock_timestamp() - '{began}')"
    )
    assert written > 5 * rate, "what the rows and their indexes take"
    assert written / float(seconds) < 1.3 * rate, "one index is built at once, and catalogs are written at the end"
    assert checksum(database, "t") == rows


def test_what_cannot_be_swapped_is_not_loaded_faster_than_was_asked_for(
    cli: Cli, database: Database, incident: Incident
) -> None:
    opened = cli("open", *opening(cli, database, incident))
    assert opened.code == 0, opened.err
    case = opened.out.strip()
    digest = digest_of(cli, case)
    database.run("create publication everything for table t")
    ran = cli("apply", case, digest, "--confirm", database.name, "--max-wal-rate", "500kB")
    assert ran.code == 54, ran.err
    assert (
        "error[load-refused]: the tables cannot be swapped: public.t: it is published: subscribers would not see the"
        " rows\n  loaded in place they come back in one transaction, which no --max-wal-rate holds back\n" in ran.err
    )
    assert database.rows("select count(*) from t") == [(0,)]
    assert cli("resume", case).code == 54
    ran = cli("apply", case, digest, "--confirm", database.name)
    assert ran.code == 0, ran.err
    assert f"{IN_PLACE}: public.t: it is published" in ran.err
    assert {query: database.rows(query) for query in incident.held} == incident.held
