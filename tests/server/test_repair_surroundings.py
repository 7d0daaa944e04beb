"""What stands around the rows: policies, settings of the role, those who notice a change."""

from __future__ import annotations

from typing import Any

import pytest

from recovery.errors import ErrorId, RowbackError
from recovery.postgres.connect import NO_STATEMENT_TIMEOUT, Session, connect
from tests.fix_lab import Database
from tests.fix_repair import Past, xid_of


def test_who_will_notice_is_in_the_plan(past: Past, database: Database) -> None:
    with past(
        "create table t (id int primary key, x text)",
        "insert into t values (1, 'a'), (2, 'b')",
        "create publication changes for table t",
        "create materialized view summary as select count(*) from t",
        "create materialized view of_summary as select * from summary",
    ) as times:
        database.run("delete from t where id = 2")
        plan = times.diff()
        assert "publication changes sends the changes of 1 of these tables to its subscribers" in plan.notices
        refresh = "materialized view {0} keeps its old rows until: refresh materialized view {0}"
        assert refresh.format("public.summary") in plan.notices
        times.apply()
        assert database.rows("select * from t order by 1") == [(1, "a"), (2, "b")]
        assert database.rows("select * from summary") == [(2,)], "nobody refreshed it"


def test_rows_that_a_policy_hides_from_others_come_back_as_well(past: Past, database: Database) -> None:
    with past(
        "create table t (id int primary key, tenant text)",
        "insert into t values (1, 'a'), (2, 'b')",
        "alter table t enable row level security",
        "create policy own on t using (tenant = 'a')",
    ) as times:
        database.run("delete from t")
        times.diff()
        times.apply()
        assert database.rows("select * from t order by 1") == [(1, "a"), (2, "b")]
        assert database.rows("select relrowsecurity from pg_class where relname = 't'") == [(True,)]


def test_forced_policies_and_unlogged_tables_are_refused_by_name(past: Past, database: Database) -> None:
    with past(
        "create table forced (id int primary key)",
        "alter table forced enable row level security",
        "alter table forced force row level security",
        "create policy none on forced using (false)",
        "create unlogged table fleeting (id int primary key)",
        "insert into fleeting values (1)",
    ) as times:
        for name, why in (
            ("public.forced", "row security hides rows of public.forced from this role"),
            ("public.fleeting", "it is unlogged, so no backup holds its rows"),
        ):
            with pytest.raises(RowbackError) as refused:
                times.diff(name)
            assert refused.value.id is ErrorId.TABLE_UNRECOVERABLE
            assert why in str(refused.value)


def test_timeouts_of_the_role_are_not_ours(past: Past, database: Database) -> None:
    with past(
        "create table t (id int primary key, x text)",
        "insert into t select g, repeat('x', 200) from generate_series(1, 20000) g",
    ) as times:
        database.run("delete from t where id > 10")
        try:
            with database.live.connect() as server:
                server.execute(f"alter database {database.name} set statement_timeout = '1ms'")
                server.execute(f"alter database {database.name} set lock_timeout = '1ms'")
                server.execute(f"alter database {database.name} set idle_in_transaction_session_timeout = '1ms'")
            times.diff()
            times.apply()
        finally:
            with database.live.connect() as server:
                server.execute(f"alter database {database.name} reset all")
        assert database.rows("select count(*), sum(length(x)) from t") == [(20000, 4000000)]


def test_a_timeout_of_a_millisecond_does_not_end_the_statement_that_lifts_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statement is made to take longer than the role allows, at its first tries."""
    tries: list[int] = []
    execute = Session.execute

    def slow(session: Session, query: Any, *arguments: Any, **options: Any) -> Any:
        if query == NO_STATEMENT_TIMEOUT and len(tries) < 5:
            tries.append(1)
            execute(session, "select pg_sleep(10)")
        return execute(session, query, *arguments, **options)

    with database.live.connect() as server:
        server.execute(f"alter database {database.name} set statement_timeout = '1ms'")
    monkeypatch.setattr(Session, "execute", slow)
    with connect(database.target()) as session:
        assert session.execute("select 1").fetchone() == (1,)
        assert session.execute("show statement_timeout").fetchone() == ("0",)
    assert len(tries) == 5


AUDIT = """
create table ddl_audit (n bigint generated always as identity primary key, tag text);
alter table ddl_audit owner to postgres;
create function note_ddl() returns event_trigger language plpgsql security definer
  as $$ begin insert into public.ddl_audit (tag) values (tg_tag); end $$;
create event trigger note_ddl on ddl_command_end execute function note_ddl();
"""


def test_an_event_trigger_that_audits_ddl_is_told_and_ends_nothing(past: Past, database: Database) -> None:
    """As AWS DMS installs one. Our stages and before-images are definitions, too; user triggers are not disabled."""
    database.as_superuser(AUDIT)
    with past(
        "create table t (id int primary key, x text)",
        "create table log (id int)",
        "insert into t select g, 'x' || g from generate_series(1, 9) g",
        "create function f() returns trigger language plpgsql as"
        " $$ begin insert into log values (new.id); return new; end $$",
        "create trigger tr after insert on t for each row execute function f()",
    ) as times:
        then = database.rows("select * from t order by 1")
        database.run("delete from t where id < 4")
        plan = times.diff("t")
        assert any(line.startswith("event trigger note_ddl sees") for line in plan.notices)
        before = database.rows("select count(*) from ddl_audit where tag like '%TRIGGER%'")
        times.apply()
        assert database.rows("select * from t order by 1") == then
        assert database.rows("select count(*) from log") == [(0,)], "the trigger did not fire"
        assert database.rows("select tgenabled from pg_trigger where tgname = 'tr'") == [("O",)]
        assert database.rows("select count(*) from ddl_audit where tag like '%TRIGGER%'") == before
        assert times.done[-1].touched == {"public.t": 3}


def test_a_rule_does_not_act_on_rows_that_come_back(past: Past, database: Database) -> None:
    with past(
        "create table t (id int primary key, x text)",
        "create table trail (id int, what text)",
        "insert into t select g, 'x' || g from generate_series(1, 9) g",
        "create rule on_insert as on insert to t do also insert into trail values (new.id, 'i')",
        "create rule on_update as on update to t do also insert into trail values (new.id, 'u')",
    ) as times:
        then = database.rows("select * from t order by 1")
        bad = xid_of(database.live, database, "update t set x = 'bad' where id > 7", "delete from t where id < 4")
        trail = database.rows("select * from trail order by 1")
        times.diff("t", mode="repair", incident_xids=(bad,))
        times.apply()
        assert database.rows("select * from t order by 1") == then
        assert database.rows("select * from trail order by 1") == trail
        assert database.rows("select ev_enabled from pg_rewrite where rulename like 'on_%'") == [("O",), ("O",)]


def test_rows_that_an_event_trigger_wrote_are_counted_and_no_tried_ones(past: Past, database: Database) -> None:
    """What was tried behind a savepoint and rolled back is no event trigger's; the audit of every definition is."""
    database.as_superuser(AUDIT)
    with past(
        "create function fit(x int) returns bool immutable language sql return x < 1000",
        "create table t (id int primary key, x int check (fit(x)))",
        "insert into t select g, g * 10 from generate_series(1, 9) g",
        "create table log (id int)",
        "create function f() returns trigger language plpgsql as"
        " $$ begin insert into log values (new.id); return new; end $$",
        "create trigger tr after insert on t for each row execute function f()",
    ) as times:
        database.run(
            "delete from t where id < 9",
            "create or replace function fit(x int) returns bool immutable language plpgsql as $$ begin"
            " if x = 70 then raise data_exception using message = 'no seventies'; end if; return true; end $$",
        )
        times.diff("t")
        before = database.rows("select count(*) from ddl_audit")[0][0]
        times.apply()
        assert times.skipped() == ["the server refuses it: no seventies"]
        assert database.rows("select id, x from t order by id") == [(g, g * 10) for g in range(1, 10) if g != 7]
        written = database.rows("select count(*) from ddl_audit")[0][0] - before
        assert written > 0
        assert times.done[-1].by_event_triggers == {"public.ddl_audit": written}
