"""Lost rows come back, later writes stay, rows are decided by hand."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from recovery.errors import RowbackError
from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli
from tests.fix_lab import Database, wait_until
from tests.fix_repair import Past
from tests.scenarios.repair.shop import SHOP, opened, plan_of, restore


def table(plan: dict[str, Any], name: str) -> dict[str, Any]:
    return next(t for t in plan["tables"] if t["name"]["name"] == name)


def test_lost_rows_come_back_and_later_writes_stay(cli: Cli, database: Database) -> None:
    database.run(SHOP)
    before = database.rows("select * from items order by 1, 2")
    target = pass_a_second()
    database.run(
        "delete from customers where id <= 5",
        "insert into customers (email, name) values ('late@example.com', 'late')",
        "update orders set state = 'paid' where id = 150",
        "insert into items values (150, 9, 'late')",
    )
    ran = restore(cli, database, target)
    assert ran.code == 0, ran.err + ran.out
    assert database.rows("select count(*), sum(id) from customers") == [(41, sum(range(1, 42)))]
    assert database.rows("select state from orders where id = 150") == [("paid",)]
    assert database.rows("select * from items where what <> 'late' order by 1, 2") == before
    assert database.rows("select what from items where line = 9") == [("late",)]
    report = json.loads(cli("report", json.loads(cli("cases", "--json").out)[0]["case"], "--json").out)
    assert report["outcome"] == "recovered"


@dataclass
class Writers:
    """Users who never stop: they insert, and they raise a counter in any order they can find. Every acknowledged write
    is remembered."""

    database: Database
    inserted: list[int] = field(default_factory=list)
    counted: dict[int, int] = field(default_factory=dict)
    rounds: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Writers:
        for act in (self._insert, self._count):
            thread = threading.Thread(target=self._run, args=(act,), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *exit: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, act: Callable[[psycopg.Connection[Any], random.Random], None]) -> None:
        chance = random.Random(7)  # noqa: S311 (no secret)
        with self.database.connect() as app:
            while not self._stop.is_set():
                act(app, chance)
                self.rounds += 1

    def _insert(self, app: psycopg.Connection[Any], chance: random.Random) -> None:
        try:
            row = app.execute(
                "insert into orders (customer_id, total) values (%s, 1) returning id", (chance.randint(1, 40),)
            ).fetchone()
        except psycopg.errors.ForeignKeyViolation:
            return  # the customer is lost at the moment
        assert row
        self.inserted.append(row[0])

    def _count(self, app: psycopg.Connection[Any], chance: random.Random) -> None:
        number = chance.randint(1, 150)
        row = app.execute("update orders set n = n + 1 where id = %s returning n", (number,)).fetchone()
        if row:
            self.counted[number] = row[0]

    def forget_what_the_incident_deleted(self) -> None:
        left = {number for (number,) in self.database.rows("select id from orders")}
        for number in set(self.counted) - left:
            del self.counted[number]
        for number in [n for n in list(self.inserted) if n not in left and n < max(left)]:
            self.inserted.remove(number)

    def assert_nothing_lost(self) -> None:
        rows = dict(self.database.rows("select id, n from orders"))
        assert set(self.inserted) <= rows.keys()
        assert {number: rows.get(number) for number in self.counted} == self.counted


def test_no_write_of_others_is_lost_through_diff_apply_verify_and_undo(cli: Cli, database: Database) -> None:
    database.run(SHOP, "alter table orders add n int not null default 0")
    target = pass_a_second()
    with Writers(database) as writers:
        with database.connect() as careless, careless.transaction():
            row = careless.execute("select pg_current_xact_id()::text::bigint % 4294967296").fetchone()
            careless.execute("delete from customers where id <= 5")
            careless.execute("update orders set state = 'void', total = 0 where id % 7 = 0")
        writers.forget_what_the_incident_deleted()
        assert row
        case = opened(cli, database, target, "--mode", "repair", "--incident-xid", str(row[0]))
        began = writers.rounds
        plan = plan_of(cli, case)
        assert table(plan, "customers")["inserts"] == 5
        applied = cli("apply", case, plan["digest"][:8], "--confirm", database.name)
        assert applied.code == 47, applied.err  # rows that the incident and the writers changed are left to people
        assert cli("verify", case).code == 0
        assert database.rows("select count(*) from customers") == [(40,)]
        wait_until(lambda: writers.rounds > began + 200, "the writers go on")
        undone = cli("undo", case, "--confirm", database.name, "--accept-partial")
        assert undone.code == 0, undone.err
        wait_until(lambda: writers.rounds > began + 400, "the writers go on")
        again = cli("undo", case, "--confirm", database.name, "--accept-partial")
        assert again.code == 0, again.err
        assert cli("close", case).code == 0
    writers.assert_nothing_lost()
    # what was changed by nobody but the incident is as it was
    assert database.rows("select count(*) from customers where id <= 5") == [(5,)]
    assert database.rows("select count(*) from items where line <= 3") == [(600,)]


def test_rows_decided_by_hand_in_the_file_that_diff_wrote(cli: Cli, database: Database, tmp_path: Path) -> None:
    database.run(
        "create table t (id int primary key, price int, title text, n int)",
        "insert into t select g, g, 'title ' || g, g from generate_series(1, 5) g",
    )
    target = pass_a_second()
    database.run(
        "update t set price = 0 where id <= 3",
        "update t set title = 'edited' where id in (2, 3)",
        "delete from t where id = 5",
        "insert into t values (6, 6, 'new', 6)",
    )
    ((xid,),) = database.rows("select xmin::text from t where id = 1")
    case = opened(cli, database, target, "--mode", "repair", "--incident-xid", xid)
    plan_of(cli, case)
    listed = cli("diff", case, "--csv", "--show", "conflict", "--show", "lost", "--show", "new").out
    edited = (
        listed.replace('"{""id"": ""2""}",conflict,keep', '"{""id"": ""2""}",conflict,update')
        .replace('"{""id"": ""5""}",lost,insert', '"{""id"": ""5""}",lost,keep')
        .replace('"{""id"": ""6""}",new,keep', '"{""id"": ""6""}",new,delete')
    )
    assert edited.count("update") == edited.count("delete") == 1
    (tmp_path / "mine.csv").write_text(edited)
    decided = plan_of(cli, case, "--decisions", str(tmp_path / "mine.csv"))
    assert (decided["tables"][0]["inserts"], decided["tables"][0]["updates"], decided["tables"][0]["deletes"]) == (
        0,
        2,
        1,
    )
    assert cli("apply", case, decided["digest"], "--confirm", database.name).code == 47  # one conflict is kept
    assert database.rows("select * from t order by id") == [
        (1, 1, "title 1", 1),
        (2, 2, "title 2", 2),
        (3, 0, "edited", 3),
        (4, 4, "title 4", 4),
    ]
    (tmp_path / "mine.csv").write_text(edited.replace("conflict,update", "conflict,insert"))
    refused = cli("diff", case, "--decisions", str(tmp_path / "mine.csv"))
    assert refused.code == 29, "the rows are written already"
    assert cli("undo", case, "--confirm", database.name).code == 0
    assert cli("close", case).code == 0


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('public.t,"{""id"": ""1""}",insert', "'insert' does not fit a row that was there at T and is there now"),
        ('public.t,"{""id"": ""9""}",keep', "public.t {'id': '9'} does not differ from T"),
        ('public.u,"{""id"": ""1""}",keep', "public.u {'id': '1'} names no row that was compared by a key"),
        ("public.t,1,maybe", "key '1' or op 'maybe' cannot be read"),
    ],
)
def test_decisions_that_cannot_be_used(past: Past, database: Database, line: str, why: str) -> None:
    with past("create table t (id int primary key, x int)", "insert into t values (1, 1)") as times:
        database.run("update t set x = 2")
        with pytest.raises(RowbackError) as refused:
            times.diff(decisions_text=f"table,key,op\n{line}\n")
        assert refused.value.fact == f"the decisions cannot be used: line 2: {why}"
        assert refused.value.exit_code == 2


def test_peek_reads_and_only_reads(cli: Cli, database: Database) -> None:
    database.run(
        "create table t (id int primary key, x text)",
        "insert into t values (1, null), (2, 'zwei')",
        "create table other (n int)",
    )
    target = pass_a_second()
    database.run("drop table t")
    case = opened(cli, database, target)
    assert cli("peek", case, "select * from t order by 1").out == "  id  x\n  1   null\n  2   zwei\n(2 rows)\n"
    assert cli("peek", case, "select id, x from t order by id", "--csv").out == "id,x\n1,\n2,zwei\n"
    assert json.loads(cli("peek", case, "select id, x from t where id = 2", "--json").out) == [{"id": "2", "x": "zwei"}]
    for query, words in (
        ("delete from t returning 1", "cannot execute DELETE in a read-only transaction"),
        ("select 1; drop table t", "cannot insert multiple commands into a prepared statement"),
        ("selec", 'syntax error at or near "selec"'),
        ("commit", "it returns no rows"),
    ):
        refused = cli("peek", case, query)
        assert refused.code == 2
        assert f"error[usage]: the query cannot be run on the copy: {words}\n" in refused.err
    assert cli("peek", case, "select count(*) from t").out == "  count\n  2\n(1 row)\n"
    assert cli("close", case).code == 0
