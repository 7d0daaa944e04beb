"""Afternoons on a real server: good writers at work, and somewhere among them what should not have happened.

A story is a function of an afternoon: sessions by name in a database of its own. `oops` plays the incident, and the
clock of the server is read right before it; what is expected of `rowback find` follows from that, not from its words.
"""

from __future__ import annotations

from tests.incident.afternoons import STORIES, Afternoon, by_itself, in_one, story

__all__ = ["STORIES"]


ALONE = {
    "update_of_everything": "update stock set pieces = 0",
    "delete_of_everything": "delete from orders",
    "truncate": "truncate orders",
    "truncate_cascade": "truncate customers cascade",
    "drop_table": "drop table orders",
    "drop_table_cascade": "drop table customers cascade",
    "drop_column": "alter table stock drop column pieces",
    "where_true": "delete from orders where true",
    "where_one_is_one": "delete from orders where 1 = 1",
    "where_itself": "update stock set pieces = 0 where sku = sku",
    "where_not_null": "delete from orders where id is not null",
    "where_or_true": "delete from orders where id = 5 or true",
    "where_all_of_itself": "delete from orders where id in (select id from orders)",
    "where_ctid_of_itself": "delete from orders where ctid in (select ctid from orders)",
    "do_block": "do $$ begin delete from orders; end $$",
    "with_delete": "with gone as (delete from orders returning *) select count(*) from gone",
    "merge": "merge into stock s using stock o on s.sku = o.sku when matched then update set pieces = 0",
    "quoted_name": 'delete from "Weird Name; --"',
    "commented": "/* select 1; */ delete /* where id = 5 */ from orders -- where id = 7",
    "type_changed": "alter table stock alter note type int using null",
    "schema_of_everything": "drop schema public cascade",
}
SHOWN = {"do_block": "do $", "commented": "delete from orders"}  # statements are shown without values and comments
for name, text in ALONE.items():
    STORIES[name] = by_itself(SHOWN.get(name, text.split("(")[0].lower()[:24]), text)

TOGETHER = {
    "transaction": ("delete from orders", ["delete from orders"]),
    "migration": (
        "update stock",
        ["alter table stock add tmp int", "update stock set pieces = 0", "alter table stock drop tmp"],
    ),
    "savepoints": ("delete from orders", ["savepoint a", "delete from orders", "release a"]),
    "triggers_off": (
        "update stock",
        [
            "alter table stock disable trigger all",
            "update stock set pieces = 1",
            "alter table stock enable trigger all",
        ],
    ),
    "swap_of_tables": (
        "drop table stock",
        [
            "create table stock_new as select sku, 0 as pieces from stock",
            "drop table stock",
            "alter table stock_new rename to stock",
        ],
    ),
    "good_before_it": ("delete from orders", ["update stock set note = 'x' where sku = 5", "delete from orders"]),
}
for name, (begins, statements) in TOGETHER.items():
    STORIES[name] = in_one(begins, *statements)


@story
def ten_thousand_good_writes(a: Afternoon) -> None:
    a.work(500)
    with a.oops("update stock set pieces"):
        a.alone("update stock set pieces = 0")
    a.work(500)


@story
def interleaved_with_a_long_transaction(a: Afternoon) -> None:
    a.does("begin", "jobs")
    a.does("update stock set note = 'j' where sku = 1", "jobs")
    with a.oops("delete from orders"):
        a.does("begin", "admin")
        a.does("delete from orders", "admin")
        a.work(6, "web")
        a.does("commit", "admin")
    a.does("update stock set note = 'k' where sku = 2", "jobs")
    a.does("commit", "jobs")


@story
def first_taken_back_then_done(a: Afternoon) -> None:
    for text in ("begin", "delete from orders", "rollback"):
        a.does(text, "admin")
    a.work()
    with a.oops("delete from orders"):
        for text in ("begin", "delete from orders", "commit"):
            a.does(text, "admin")
    a.work()


@story
def done_then_tried_again_and_taken_back(a: Afternoon) -> None:
    a.work()
    with a.oops("delete from orders"):
        a.does("delete from orders", "admin")
    a.work()
    for text in ("begin", "delete from orders", "rollback"):
        a.does(text, "admin")


@story
def cancelled_then_done(a: Afternoon) -> None:
    a.does("set statement_timeout = 1", "admin")
    a.does("delete from orders where pg_sleep(0.1) is not null", "admin")
    a.does("set statement_timeout = 0", "admin")
    a.work()
    with a.oops("delete from orders"):
        a.does("delete from orders", "admin")
    a.work()


@story
def an_error_behind_it(a: Afternoon) -> None:
    a.work()
    with a.oops("delete from orders"):
        a.does("delete from orders", "admin")
        a.does("select 1", "admin")
        a.does("select nothing from nowhere", "admin")
    a.work()


@story
def left_open_by_another(a: Afternoon) -> None:
    """A transaction that its session never ended is none."""
    a.does("begin", "careless")
    a.does("update stock set note = 'y' where sku = 3", "careless")
    a.leaves("careless")
    a.work()
    with a.oops("truncate orders"):
        a.does("truncate orders", "admin")
    a.work()


@story
def by_a_driver(a: Afternoon) -> None:
    a.work()
    with a.oops("delete from orders"):
        a.driver("delete from orders where total >= %s or true", 0, by="api")
    a.work()


@story
def several_in_one_message(a: Afternoon) -> None:
    a.work()
    with a.oops("delete from orders"):
        a.session("admin").pgconn.exec_(b"update stock set note = 'z' where sku = 4; delete from orders; select 1")
    a.work()


@story
def two_phases(a: Afternoon) -> None:
    a.work()
    with a.oops("delete from orders"):
        for text in ("begin", "delete from orders", "prepare transaction 'two'"):
            a.does(text, "admin")
        a.work(4)
        a.does("commit prepared 'two'", "other")
    a.work()


@story
def he_tried_to_mend_it(a: Afternoon) -> None:
    a.work()
    with a.oops("delete from orders"):
        a.does("delete from orders", "admin")
    for n in range(1, 6):
        a.does(f"insert into orders values ({n}, {n}, 1)", "admin")
    a.does("delete from orders where id = 5", "admin")
    a.work()


@story
def scratch_tables(a: Afternoon) -> None:
    """Temporary tables come and go all day."""
    for n in range(3):
        a.does(f"create temp table scratch_{n} (id int)", "jobs")
        a.does(f"insert into scratch_{n} values (1)", "jobs")
        a.does(f"truncate scratch_{n}", "jobs")
        a.does(f"drop table scratch_{n}", "jobs")
    with a.oops("delete from orders"):
        a.does("delete from orders", "admin")
    a.work()


@story
def upkeep_beside_it(a: Afternoon) -> None:
    for text in (
        "vacuum stock",
        "analyze",
        "reindex table stock",
        "create index on stock (pieces)",
        "create materialized view m as select 1 as x",
        "refresh materialized view m",
        "grant select on stock to public",
        "revoke select on stock from public",
    ):
        a.does(text, "upkeep")
    with a.oops("update stock set pieces"):
        a.does("update stock set pieces = 0", "admin")
    a.does("drop index stock_pieces_idx", "upkeep")


@story
def two_at_once(a: Afternoon) -> None:
    a.work()
    with a.oops("delete from orders"):
        a.does("delete from orders", "admin")
    a.work()
    with a.oops("update stock set pieces"):
        a.alone("update stock set pieces = 0")
    a.work()


@story
def emptied_every_few_minutes(a: Afternoon) -> None:
    """A table that is emptied and filled again and again is not what was lost."""
    for n in range(4):
        a.does("truncate staging", f"loader {n}")
        a.does(f"insert into staging select g, 'v{n}' from generate_series(1, 20) g", f"loader {n}")
        a.work(3)
    with a.oops("delete from orders"):
        a.does("delete from orders", "admin")
    a.does("truncate staging", "loader")
    a.does("insert into staging select g, 'w' from generate_series(1, 20) g", "loader")


@story
def a_script_of_several(a: Afternoon) -> None:
    a.work()
    with a.oops("delete from orders"):
        for text in ("delete from orders", "update stock set pieces = 0", 'delete from "Weird Name; --"'):
            a.does(text, "admin")
    a.work()


@story
def the_last_of_its_session(a: Afternoon) -> None:
    with a.oops("delete from orders"):
        for text in ("begin", "delete from orders", "commit"):
            a.does(text, "admin")
        a.leaves("admin")
    a.work()


@story
def a_long_first_half(a: Afternoon) -> None:
    """The destructive statement comes late in its transaction; what it did before is good, and counts to it."""
    with a.oops("truncate orders"):
        a.does("begin", "admin")
        a.does("update stock set note = 'first' where sku = 9", "admin")
        a.work()
        a.does("truncate orders", "admin")
        a.does("commit", "admin")
    a.work()


@story
def overwritten_by_an_upsert(a: Afternoon) -> None:
    a.work()
    with a.oops("insert into stock select"):
        a.does("insert into stock select sku, 0, null from stock on conflict (sku) do update set pieces = 0", "admin")
    a.work()
