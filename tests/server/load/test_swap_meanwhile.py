"""What others write and define while a swap builds: followed, or a reason not to swap; never lost, never twice."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
import pytest

from recovery.postgres.connect import Session
from recovery.postgres.swap.hidden_tables import remove_hidden_tables
from recovery.postgres.swap.rows_of_others import OthersRows
from recovery.reload import load_by_swap
from recovery.reload.build_hidden import NotSwapped
from recovery.reload.verify_after_commit import verify
from tests.fix_lab import Database
from tests.schema_dump import checksum, definitions
from tests.server.load.swapping import PARENT_AND_CHILD, ROWS, SCHEMAS, nothing_hidden, swapping

NOT_HIDDEN = f"--exclude-schema={SCHEMAS.hidden}"


class Users:
    """Two writers and a reader that never pause: parents and children come, change and go.

    `kept`: id → value of every child that they left there; `parents`: those of their parents; `errors`: what they met.
    """

    def __init__(self, database: Database) -> None:
        self.kept: dict[int, str] = {}
        self.parents: list[int] = []
        self.errors: list[Exception] = []
        self._database, self._stop = database, threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(act,)) for act in (self._write, self._write, self._read)
        ]

    def __enter__(self) -> Users:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def go_on(self, rounds: int) -> None:
        """Wait until they have written so many times more."""
        before = len(self.parents)
        while len(self.parents) < before + rounds and not self.errors:
            self._stop.wait(0.01)

    def _run(self, act: Callable[[psycopg.Connection], None]) -> None:
        try:
            with self._database.connect() as session:
                while not self._stop.is_set():
                    act(session)
        except (psycopg.Error, AssertionError) as error:
            self.errors.append(error)

    def _write(self, session: psycopg.Connection) -> None:
        child = "insert into t (p, v) values (%s, 'new') returning id"
        with session.transaction():
            ((parent,),) = session.execute("insert into p (v) values ('new') returning id").fetchall()
            first, second, third = (session.execute(child, (parent,)).fetchall()[0][0] for _ in range(3))
        session.execute("update t set v = 'changed' where id = %s", (second,))
        session.execute("delete from t where id = %s", (third,))
        self.kept.update({first: "new", second: "changed"})
        self.parents.append(parent)

    @staticmethod
    def _read(session: psycopg.Connection) -> None:
        query = "select count(*) from t left join p on p.id = t.p where p.id is null"
        assert session.execute(query).fetchall() == [(0,)]


def test_writers_and_readers_go_on_and_lose_nothing(source: Database, database: Database) -> None:
    for each in (source, database):
        each.run(*PARENT_AND_CHILD)
    source.run(*ROWS)
    database.run("alter sequence p_id_seq restart 1000001", "alter sequence t_id_seq restart 1000001")
    with swapping(source, database) as swap:
        with Users(database) as users:
            users.go_on(5)
            loaded = swap.exchange(swap.build())
            users.go_on(20)
        assert users.errors == []
        proof = verify(swap.here, swap.job, loaded)
    assert proof.proven
    assert sum(table.written_since for table in proof.tables) == len(users.kept) + len(users.parents)
    assert dict(database.rows("select id, v from t where id > 1000000")) == users.kept
    of_target = "select count(*), sum(hashtextextended(x::text, 0)) from t x where id <= 1000000"
    assert database.rows(of_target) == source.rows(of_target)
    assert {parent for (parent,) in database.rows("select id from p where id > 1000000")} == set(users.parents)


@pytest.mark.parametrize(
    ("meanwhile", "reason"),
    [
        ("insert into p values (7, 'mine')", "duplicate key value violates unique constraint"),
        ("alter table t add more int", "the tables, or what depends on them, were altered meanwhile"),
        ("create view v as select * from t", "the tables, or what depends on them, were altered meanwhile"),
        ("create index on t (v)", "the tables, or what depends on them, were altered meanwhile"),
        ("comment on table p is 'new'", "the tables, or what depends on them, were altered meanwhile"),
        (
            "create function g(t) returns int language sql return 1",
            r"public.t: function public.g\(public.t\) depends on it",
        ),
        ("create materialized view m as select 1 from t", "public.t: materialized view public.m depends on it"),
        (
            "insert into p select g, 'x' from generate_series(10000, 210001) g",
            "others wrote more than 200,000 rows",
        ),
    ],
)
def test_what_came_meanwhile_and_cannot_be_carried_over(
    source: Database, database: Database, meanwhile: str, reason: str
) -> None:
    for each in (source, database):
        each.run(*PARENT_AND_CHILD)
    source.run(*ROWS)
    with swapping(source, database) as swap:
        ready = swap.build()
        database.run(meanwhile)
        before, rows = definitions(database, NOT_HIDDEN), checksum(database, "p")
        with pytest.raises(NotSwapped, match=reason):
            swap.exchange(ready)
        assert remove_hidden_tables(swap.here, SCHEMAS.hidden)
    assert nothing_hidden(database)
    assert (definitions(database, NOT_HIDDEN), checksum(database, "p")) == (before, rows)


def test_rows_that_somebody_else_put_back_do_not_come_twice(source: Database, database: Database) -> None:
    """Nothing tells them from rows of others where there is no key."""
    for each in (source, database):
        each.run("create table t (a int, b text)", "create table k (id int primary key)")
    source.run("insert into t select g, 'x' from generate_series(1, 50) g", "insert into k values (1)")
    with swapping(source, database, "public.t") as swap:
        ready = swap.build()
        database.run("insert into t select g, 'x' from generate_series(1, 50) g")
        with pytest.raises(NotSwapped, match="others wrote into public.t meanwhile, whose rows no key tells apart"):
            swap.exchange(ready)
    assert database.rows("select count(*) from t") == [(50,)]


def test_numbers_of_an_identity_are_given_out_once(source: Database, database: Database) -> None:
    """Others ask the sequence itself, without a lock on the table, until it is exchanged."""
    for each in (source, database):
        each.run("create table t (id bigint generated by default as identity primary key, v text)")
    source.run("insert into t (v) select 'x' from generate_series(1, 100)")
    numbers: list[int] = []
    errors: list[str] = []
    stop = threading.Event()

    def ask() -> None:
        with database.connect() as session:
            while not stop.is_set():
                try:
                    numbers.extend(number for (number,) in session.execute("select nextval('t_id_seq')").fetchall())
                except psycopg.Error as error:
                    errors.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    with swapping(source, database) as swap:
        ready = swap.build()
        for thread in threads:
            thread.start()
        try:
            swap.exchange(ready)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert all("could not open relation" in error for error in errors), "the sequence was another one at that moment"
    assert len(errors) <= len(threads)
    assert len(numbers) == len(set(numbers)) > 0
    assert database.rows("select nextval('t_id_seq')")[0][0] > max(numbers)


@pytest.mark.parametrize(
    "statement",
    [
        "grant select on t to public",
        "grant select (v) on t to public",
        "comment on index t_v_idx is 'new'",
        "alter index t_v_idx rename to other",
        "alter statistics s set statistics 77",
        "create function ff(t) returns int language sql as 'select 1'",
    ],
)
def test_what_is_defined_without_a_lock_on_the_table_is_seen_before_the_exchange(
    source: Database, database: Database, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    for each in (source, database):
        each.run("create table t (id int primary key, v text)", "create index on t (v)")
        each.run("create statistics s on id, v from t")
    source.run("insert into t select g, 'x' from generate_series(1, 50) g")
    follow = load_by_swap._follow

    def followed(session: Session, others: list[OthersRows]) -> None:
        follow(session, others)
        if session.execute("select count(*) from pg_locks where mode = 'AccessExclusiveLock'").fetchall() != [(0,)]:
            database.run(statement)

    with swapping(source, database) as swap:
        ready = swap.build()
        monkeypatch.setattr(load_by_swap, "_follow", followed)
        with pytest.raises(NotSwapped, match="were altered meanwhile|depends on it"):
            swap.exchange(ready)
        assert remove_hidden_tables(swap.here, SCHEMAS.hidden)
    assert nothing_hidden(database)


def test_a_parent_that_goes_while_its_new_child_is_followed(
    source: Database, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends that round, which sees the child still, and not the parent any more."""
    for each in (source, database):
        each.run("create table o (id int primary key)", "insert into o values (1), (2)")
        each.run("create table t (id int primary key, o int references o)")
    source.run("insert into t select g, 1 from generate_series(1, 50) g")
    come, rounds = OthersRows.come, list[int]()

    def outrun(rows: OthersRows) -> None:
        rounds.append(1)
        if len(rounds) == 1:
            database.run("delete from t", "delete from o where id = 2", "insert into t values (1001, 1)")
        come(rows)

    with swapping(source, database, "public.t") as swap:
        ready = swap.build()
        database.run("insert into t values (1000, 2)")
        monkeypatch.setattr(OthersRows, "come", outrun)
        swap.exchange(ready)
    assert len(rounds) == 3, "one that was outrun, one more, and that under the lock"
    assert database.rows("select count(*), max(id) from t") == [(51, 1001)]
