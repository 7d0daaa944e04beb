"""Keys, triggers, partitions, tables without a key, and columns that changed."""

from __future__ import annotations

from typing import Any

import pytest

from recovery.errors import RowbackError
from recovery.model.modes.reload_mode import Mode
from recovery.model.repair_plan import DetectionMethod
from recovery.model.row_class import RowClass
from tests.fix_lab import Database
from tests.fix_repair import Past, xid_of
from tests.server.repair.tables import text_of

CYCLE = """
create table a (id int primary key, b_id int); create table b (id int primary key, a_id int references a);
alter table a add constraint a_b foreign key (b_id) references b {how};
insert into a values (1, null), (2, null); insert into b values (1, 1), (2, 2); update a set b_id = id;
"""


@pytest.mark.parametrize("how", ["deferrable", "deferrable initially deferred", ""])
def test_cyclic_keys(past: Past, database: Database, how: str) -> None:
    with past(CYCLE.format(how=how)) as times:
        database.run("set session_replication_role = replica; delete from a where id = 2; delete from b where id = 2")
        times.diff()
        times.apply()
        assert database.rows("select * from a order by 1") == [(1, 1), (2, 2)]
        assert database.rows("select * from b order by 1") == [(1, 1), (2, 2)]
        times.undo()
        assert database.rows("select id from a") == [(1,)]


def test_partitions_and_inheritance(past: Past, database: Database) -> None:
    with past(
        "create table p (id int, k int, x text, primary key (id, k)) partition by list (k)",
        "create table p1 partition of p for values in (1)",
        "create table p2 partition of p for values in (2)",
        "create table c (id int primary key, p_id int, k int, foreign key (p_id, k) references p on delete cascade)",
        "create table base (id int primary key, x text)",
        "create table heir (y text, primary key (id)) inherits (base)",
        "insert into p select g, 1 + g % 2, 'x' || g from generate_series(1, 6) g",
        "insert into c select g, g, 1 + g % 2 from generate_series(1, 6) g",
        "insert into base values (1, 'b')",
        "insert into heir values (2, 'h', 'y'), (1, 'twin', 'z')",
    ) as times:
        held = {
            t: database.rows(f"select tableoid::regclass::text, * from {t} order by 1, 2") for t in ("p", "c", "base")
        }
        database.run(
            "delete from p where id < 4",
            "delete from base",
            "create table p3 partition of p for values in (3)",
            "insert into p values (7, 3, 'later')",
        )
        times.diff()
        times.apply()
        assert database.rows("select tableoid::regclass::text, * from p order by 1, 2") == [
            *held["p"],
            ("p3", 7, 3, "later"),
        ]
        assert database.rows("select tableoid::regclass::text, * from c order by 1, 2") == held["c"]
        assert database.rows("select tableoid::regclass::text, * from base order by 1, 2") == held["base"]


def test_triggers_are_held_and_every_one_is_as_before(past: Past, database: Database) -> None:
    with past(
        "create table t (id int primary key, at timestamptz default '2020-01-01Z')",
        "create table log (what text)",
        "create function note() returns trigger language plpgsql as"
        " $$ begin insert into log values (tg_name || ' ' || tg_op); return new; end $$",
        "create function touch() returns trigger language plpgsql as $$ begin new.at := now(); return new; end $$",
        "insert into t values (1), (2), (3)",
        "create trigger audit after insert or update or delete on t for each row execute function note()",
        "create trigger touch before insert or update on t for each row execute function touch()",
        "create trigger always after insert on t for each row execute function note()",
        "alter table t enable always trigger always",
        "create trigger outbox after insert on t for each statement execute function note()",
    ) as times:
        database.run("delete from t where id > 1", "truncate log")
        plan = times.diff("t")
        assert [t.name for t in plan.held_triggers] == ["always", "audit", "outbox", "touch"]
        times.apply()
        assert database.rows("select id, at::date::text from t order by 1") == [
            (1, "2020-01-01"),
            (2, "2020-01-01"),
            (3, "2020-01-01"),
        ]
        assert database.rows("select * from log") == []
        assert database.rows("select tgname, tgenabled::text from pg_trigger where not tgisinternal order by 1") == [
            ("always", "A"),
            ("audit", "O"),
            ("outbox", "O"),
            ("touch", "O"),
        ]


def test_a_table_without_a_key(past: Past, database: Database) -> None:
    with past(
        'create table "Weird Name; --" ("t" int, "select" text, f float8)',
        "create table mixed (a int)",
        "insert into \"Weird Name; --\" values (1, 'x', 'nan'), (1, 'x', 'nan'), (1, 'x', 'nan'), (null, null, 1),"
        " (2, '', 0)",
        "insert into mixed values (1), (2)",
    ) as times:
        held = text_of(database, '"Weird Name; --"')
        database.run(
            """delete from "Weird Name; --" where "t" = 2 or "t" is null""",
            """delete from "Weird Name; --" where ctid in (select ctid from "Weird Name; --" where "t" = 1 limit 2)""",
            "update mixed set a = 3 where a = 2",
        )
        plan = times.diff()
        assert {t.name.name: (t.inserts, t.engine) for t in plan.tables} == {
            "Weird Name; --": (4, DetectionMethod.WHOLE_ROWS),
            "mixed": (0, DetectionMethod.WHOLE_ROWS),
        }
        (blocked,) = times.rows_of(RowClass.BLOCKED)
        assert blocked.reason == (
            "its table has no key, and rows written since T may be newer versions of it: see --mode beside"
        )
        times.apply()
        assert text_of(database, '"Weird Name; --"') == held
        assert database.rows("select a from mixed order by 1") == [(1,), (3,)]
        times.undo()
        assert database.rows('select count(*) from "Weird Name; --"') == [(1,)]


def test_unique_keys_of_every_kind(past: Past, database: Database) -> None:
    with past(
        "create table t (id int primary key, email text, state text, span int4range)",
        "create unique index lower_mail on t (lower(email))",
        "create unique index one_open on t (state) where state = 'open'",
        "alter table t add constraint no_overlap exclude using gist (span with &&)",
        "insert into t values (1, 'A@x', 'open', '[1,5)'), (2, 'b@x', 'shut', '[5,9)'), (3, 'c@x', 'shut', '[10,12)'),"
        " (4, 'd@x', 'shut', null)",
    ) as times:
        database.run("delete from t", "insert into t values (11, 'B@X', 'open', '[10,11)'), (12, 'z', 'shut', null)")
        times.diff()
        assert {(c.key[0], c.reason) for c in times.rows_of(RowClass.BLOCKED)} == {
            ("1", "unique key one_open is taken by (11)"),
            ("2", "unique key lower_mail is taken by (11)"),
            ("3", "unique key no_overlap is taken by (11)"),
        }
        times.apply()
        assert database.rows("select id from t order by 1") == [(4,), (11,), (12,)]


def test_a_key_that_an_update_or_a_delete_sets_free(past: Past, database: Database) -> None:
    with past(
        "create table t (id int primary key, code text unique, x int)",
        "insert into t values (1, 'one', 1), (2, 'two', 2), (3, 'three', 3)",
    ) as times:
        bad = xid_of(database.live, database, "delete from t where id = 2", "update t set code = 'two' where id = 1")
        times.diff(mode=Mode.REPAIR, incident_xids=(bad,))
        times.apply()
        assert database.rows("select id, code from t order by 1") == [(1, "one"), (2, "two"), (3, "three")]
        database.run("delete from t where id = 3", "insert into t values (9, 'three', 9)")
        plan = times.diff(mode=Mode.REPLACE)
        assert plan.loses == 1
        times.apply()
        assert database.rows("select id, code from t order by 1") == [(1, "one"), (2, "two"), (3, "three")]
        times.undo()
        assert database.rows("select id, code from t order by 1") == [(1, "one"), (2, "two"), (9, "three")]


ADDED = "column {} was added since T: {}"


DRIFT = [
    ("add extra int default 7", [(1, "a", 7), (2, "b", 7)], ADDED.format("extra", "rows put back get its default")),
    ("add extra text", [(1, "a", None), (2, "b", None)], ADDED.format("extra", "rows put back hold null there")),
    ("drop more", [(1, "a"), (2, "b")], "column more was dropped since T: its values stay behind"),
    ("rename x to y", [(1, "a"), (2, "b")], "column x is called y now"),
    ("alter id type bigint", [(1, "a"), (2, "b")], "column id was integer, is bigint"),
    (
        "add g int generated always as (id * 2) stored",
        [(1, "a", 2), (2, "b", 4)],
        ADDED.format("g", "the server fills it"),
    ),
]


@pytest.mark.parametrize(("change", "rows", "note"), DRIFT, ids=[change for change, _, _ in DRIFT])
def test_columns_that_changed_since_are_mapped(
    past: Past, database: Database, change: str, rows: list[Any], note: str
) -> None:
    with past(
        "create table t (id int primary key, x varchar(10), more int)", "insert into t values (1, 'a', 1), (2, 'b', 2)"
    ) as times:
        database.run(f"alter table t {change}", "delete from t where id = 2")
        plan = times.diff()
        assert plan.tables[0].mapped == (note,)
        times.apply()
        columns = database.rows(
            "select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute"
            " where attrelid = 't'::regclass and attnum > 0 and not attisdropped and attname <> 'more'"
        )[0][0]
        assert database.rows(f"select {columns} from t order by id") == rows


def test_what_cannot_be_mapped_is_refused_or_blocked_with_the_reason(past: Past, database: Database) -> None:
    with past(
        "create table t (id int primary key, x text, n int)",
        "create table u (id int primary key, x text)",
        "insert into t values (1, '1', 5), (2, '2', -5)",
        "insert into u values (1, 'x')",
    ) as times:
        database.run(
            "delete from t",
            "alter table t add must int not null",
            "alter table t drop must",
            "alter table t add check (n > 0)",
        )
        times.diff("t")
        (blocked,) = times.rows_of(RowClass.BLOCKED)
        assert (blocked.key, blocked.reason) == (("2",), 'it violates check "t_n_check"')
        database.run("alter table t add must int not null")
        times.diff("t")
        assert {c.reason for c in times.rows_of(RowClass.BLOCKED)} == {
            'it violates NOT NULL on "must"',
            'it violates check "t_n_check"',
        }
        database.run("alter table u alter x type int using 1")
        with pytest.raises(RowbackError) as refused:
            times.diff("u")
        words = 'the server refuses it: invalid input syntax for type integer: "x"'
        assert refused.value.facts == (f"public.u: column x (text → integer): {words}",)
