"""What sessions did, and what became of it: played on a real server whose log is then read.

A play is a function of a stage: sessions by name, each in the way a driver would talk. Every table is touched by one
play alone; what is expected of it stands beside the play: the statements that destroyed something, and their outcome.
"""

from __future__ import annotations

from tests.incident.log_stages import CASES, GONE, C, R, Stage, case

__all__ = ["CASES"]


@case(("truncate", C))
def truncate_alone(s: Stage) -> None:
    s.simple("truncate {t}")
    s.simple("select 1")


@case(("delete", C))
def delete_by_parameters(s: Stage) -> None:
    s.extended("delete from {t} where %s", True)
    s.simple("select 1")


@case(("delete", C))
def delete_prepared_by_the_driver(s: Stage) -> None:
    for _ in range(3):
        s.extended("delete from {t} where true or id = %s", 1, prepare=True)
    s.simple("select 1")


@case(("delete from", C))
def prepare_and_execute_in_sql(s: Stage) -> None:
    s.simple("prepare p_{t} as delete from {t} where $1")
    s.simple("execute p_{t}(true)")
    s.simple("deallocate p_{t}")


@case(("update", C))
def update_of_everything(s: Stage) -> None:
    s.simple("update {t} set x = 'gone'")
    s.simple("select 1")


@case(("delete", C))
def explicit_commit(s: Stage) -> None:
    s.simple("begin")
    s.simple("delete from {t}")
    s.simple("commit")
    s.simple("select 1")


@case(("delete", R))
def explicit_rollback(s: Stage) -> None:
    s.simple("begin")
    s.simple("delete from {t}")
    s.simple("rollback")
    s.simple("select 1")


@case(("delete", C))
def odd_spelling_of_commit(s: Stage) -> None:
    s.simple("start transaction isolation level repeatable read")
    s.simple("delete from {t}")
    s.simple("/* done */ end -- really")
    s.simple("select 1")


@case(("delete", R))
def abort(s: Stage) -> None:
    s.simple("begin work")
    s.simple("delete from {t}")
    s.simple("abort transaction")
    s.simple("select 1")


@case(("delete", R), ("truncate", C))
def rollback_to_a_savepoint(s: Stage) -> None:
    s.simple("begin")
    s.simple("truncate {t}")
    s.simple("savepoint one")
    s.simple("delete from {t}")
    s.simple("rollback to savepoint one")
    s.simple("commit")
    s.simple("select 1")


@case(("delete", C), ("truncate", C))
def released_savepoint(s: Stage) -> None:
    s.simple("begin")
    s.simple("savepoint one")
    s.simple("delete from {t}")
    s.simple("release one")
    s.simple("truncate {t}")
    s.simple("commit")
    s.simple("select 1")


@case(("delete", R), ("truncate", R), ("update", C))
def nested_savepoints(s: Stage) -> None:
    s.simple("begin")
    s.simple("update {t} set x = 'y'")
    s.simple('savepoint "Outer"')
    s.simple("delete from {t}")
    s.simple("savepoint inner_one")
    s.simple("truncate {t}")
    s.simple('rollback to "Outer"')
    s.simple("commit")
    s.simple("select 1")


@case(("delete", R))
def commit_of_a_failed_transaction(s: Stage) -> None:
    s.simple("begin")
    s.simple("delete from {t}")
    s.simple("select 1/0")
    s.simple("commit")
    s.simple("select 1")


@case(("delete", C))
def error_repaired_by_a_savepoint(s: Stage) -> None:
    s.simple("begin")
    s.simple("delete from {t}")
    s.simple("savepoint s")
    s.simple("select 1/0")
    s.simple("rollback to s")
    s.simple("commit")
    s.simple("select 1")


@case(("delete", R))
def the_statement_itself_fails(s: Stage) -> None:
    s.simple("delete from {t} where 1/(id - id) = 0")
    s.simple("update {t} set id = null")
    s.simple("select 1")


@case(("delete", C))
def an_error_of_another_statement_afterwards(s: Stage) -> None:
    s.simple("delete from {t}")
    s.simple("select from nowhere_at_all")
    s.simple("select 1")


@case(("delete", C))
def a_syntax_error_right_behind(s: Stage) -> None:
    s.simple("delete from {t}")
    s.simple("selec 1")
    s.simple("select 1")


@case(("truncate", C), ("delete", C))
def several_in_one_message(s: Stage) -> None:
    s.raw("truncate {t}; delete from {t}")
    s.simple("select 1")


@case(("delete", R))
def several_in_one_message_of_which_the_last_fails(s: Stage) -> None:
    s.raw("delete from {t}; select 1/0")
    s.simple("select 1")


@case(("delete", R), ("truncate", C))
def transactions_inside_one_message(s: Stage) -> None:
    s.raw("begin; delete from {t}; rollback; begin; truncate {t}; commit")
    s.simple("select 1")


@case(("delete", C))
def commit_and_chain(s: Stage) -> None:
    s.simple("begin")
    s.simple("delete from {t}")
    s.simple("commit and chain")
    s.simple("select 1")
    s.simple("rollback")


@case(("delete", R))
def chained_and_rolled_back(s: Stage) -> None:
    s.simple("begin")
    s.simple("select 1")
    s.simple("commit and chain")
    s.simple("delete from {t}")
    s.simple("rollback")
    s.simple("select 1")


@case(("delete", C))
def two_phase_commit(s: Stage) -> None:
    s.simple("begin")
    s.simple("delete from {t}")
    s.simple("prepare transaction 'of {t}'")
    s.simple("commit prepared 'of {t}'", "b")
    s.simple("select 1", "b")


@case(("delete", R))
def two_phase_rollback(s: Stage) -> None:
    s.simple("begin")
    s.simple("delete from {t}")
    s.simple("prepare transaction 'of {t}'")
    s.simple("rollback prepared 'of {t}'", "b")
    s.simple("select 1", "b")


@case(("delete", GONE))
def the_session_goes_amid_a_transaction(s: Stage) -> None:
    s.simple("begin")
    s.simple("delete from {t}")
    s.gone()


@case(("delete", R))
def the_session_is_terminated(s: Stage) -> None:
    s.simple("begin")
    s.simple("delete from {t}")
    s.simple(f"select pg_terminate_backend({s.session().info.backend_pid})", "b")
    s.simple("select 1")


@case(("delete", R))
def cancelled(s: Stage) -> None:
    s.simple("set statement_timeout = '50ms'")
    s.simple("delete from {t} where pg_sleep(5) is not null")
    s.simple("set statement_timeout = 0")


@case(("update", R))
def commit_fails_by_a_deferred_constraint(s: Stage) -> None:
    s.simple("begin")
    s.simple("set constraints all deferred")
    s.simple("update {t} set parent = 4711")
    s.simple("commit")
    s.simple("select 1")


@case(("do $$", C))
def block(s: Stage) -> None:
    s.simple("do $$ begin delete from {t}; end $$")
    s.simple("select 1")


@case(("do $$", R))
def block_that_fails(s: Stage) -> None:
    s.simple("do $$ begin delete from {t}; raise exception 'no'; end $$")
    s.simple("select 1")


@case(("select wipe", C))
def function(s: Stage) -> None:
    s.simple("select wipe('{t}')")
    s.simple("select 1")


@case(("with gone", C))
def cte(s: Stage) -> None:
    s.simple("with gone as (delete from {t} returning *) select count(*) from gone")
    s.simple("select 1")


@case(("copy (delete", C))
def copy_of_a_delete(s: Stage) -> None:
    with s.session().cursor().copy(f"copy (delete from {s.t} returning *) to stdout") as copy:
        list(copy)
    s.simple("select 1")


@case(("explain analyze", C))
def explain_analyze(s: Stage) -> None:
    s.simple("explain analyze delete from {t}")
    s.simple("select 1")


@case(("drop table", C))
def drop(s: Stage) -> None:
    s.simple("drop table {t} cascade")
    s.simple("select 1")


@case(("alter table", C))
def drop_column(s: Stage) -> None:
    s.simple("alter table {t} drop column x")
    s.simple("select 1")


@case(("merge into", C))
def merge(s: Stage) -> None:
    s.simple("merge into {t} using (select 1) q on true when matched then delete")
    s.simple("select 1")


@case(("delete from", C))
def several_lines(s: Stage) -> None:
    s.simple("delete\n  from {t} -- all\n\twhere true\n\n  or 'x; drop' = E'\\t'")
    s.simple("select 1")


@case(("delete from", C))
def text_that_looks_like_a_log_line(s: Stage) -> None:
    s.simple("delete from {t} where x <> $$\n2026-11-22 14:20:00 UTC::a@b:[1]:LOG:  statement: begin\n$$ or true")
    s.simple("select 1")


@case(("truncate", C), ("delete", R))
def two_sessions_interleaved(s: Stage) -> None:
    s.simple("begin", "a")
    s.simple("begin", "b")
    s.simple("insert into {t} (id) values (100)", "a")
    s.simple("select 1", "b")
    s.simple("delete from {t}", "a")
    s.simple("rollback", "a")
    s.simple("truncate {t}", "b")
    s.simple("commit", "b")
    s.simple("select 1", "a")
    s.simple("select 1", "b")


@case(("delete", C))
def extended_in_a_transaction(s: Stage) -> None:
    s.extended("begin")
    s.extended("delete from {t} where %s::text is not null", "secret value")
    s.extended("commit")
    s.extended("select 1")


@case(("delete", R))
def extended_rolled_back(s: Stage) -> None:
    s.extended("begin")
    s.extended("delete from {t} where %s", True)
    s.extended("rollback")
    s.extended("select 1")


@case()
def only_reads_and_small_writes(s: Stage) -> None:
    s.simple("select count(*) from {t}")
    s.simple("insert into {t} (id) values (77)")
    s.simple("create temp table scratch (n int)")
    s.simple("truncate scratch")
