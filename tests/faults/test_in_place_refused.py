"""In place where something is in the way: never a lost index, never a refusal that --load plain would not make.

The first version lost indexes, ended default restores with an error, or waited for hours in each of these.
"""

from __future__ import annotations

from typing import Any

import pytest

from recovery.workflow.steps import unbuilt_indexes
from runbooks.lab.background import pass_a_second
from tests.faults.in_place import (
    QUERY,
    SIGNAL_AT,
    Incident,
    assert_as_it_was,
    assert_recovered,
    digest_of,
    in_place,
    incident,
    indexes,
    killed,
)
from tests.fix_cli import Cli, restoring, the_case
from tests.fix_lab import Database, wait_until
from tests.schema_dump import definitions

__all__ = ["incident"]
pytestmark = pytest.mark.matrix


def built_by(dump: str) -> list[str]:
    """What makes the indexes in a dump of definitions."""
    return [line for line in dump.splitlines() if line.startswith(("CREATE INDEX", "COMMENT ON INDEX"))]


def test_a_predicate_that_postgresql_prints_otherwise(cli: Cli, database: Database) -> None:
    database.run(
        "create table orders (id int primary key, status varchar(20) not null)",
        "create index open_orders on orders (id) where status in ('new', 'paid')",
        "insert into orders select g, 'new' from generate_series(1, 60000) g",
    )
    before, target = definitions(database), pass_a_second()
    database.run("truncate orders")
    ran = cli(*restoring(cli, database, target, "--table", "orders"))
    assert ran.code == 0, ran.err
    assert database.rows("select count(*) from orders where status = 'new'") == [(60000,)]
    assert definitions(database) == before


def test_rows_that_leave_find_their_children_by_the_index(cli: Cli, database: Database) -> None:
    """Each parent that is deleted looks for its children: without their index by reading all of them."""
    database.run(
        "create table p (id int primary key, x int)",
        "create table c (id int primary key, p_id int references p on delete cascade)",
        "create index c_p on c (p_id)",
        "insert into p select g from generate_series(1, 100) g",
        "insert into c select g, 1 + g % 100 from generate_series(1, 20000) g",
    )
    held, target = database.rows("select * from c order by 1"), pass_a_second()
    database.run("truncate c", "insert into p select g from generate_series(5001, 5400) g")
    scans = "select seq_scan from pg_stat_user_tables where relname = 'c'"
    options = ("--table", "p", "--table", "c", "--mode", "replace", "--load", "in-place", "--confirm-loss", "400")
    before = database.rows(scans)[0][0]
    ran = cli(*restoring(cli, database, target, *options))
    assert ran.code == 0, ran.err
    assert "1 index built" in ran.err
    assert database.rows("select * from c order by 1") == held
    database.run("select pg_stat_clear_snapshot()")
    assert database.rows(scans)[0][0] - before < 100, "not one for each of 400 parents"


def test_a_paced_load_that_goes_on_drops_nothing_again(cli: Cli, database: Database) -> None:
    database.run(
        "create table t (n int primary key, body text)",
        "create index by_body on t (body)",
        "create table r (n int primary key, body text)",
        "insert into t select g, md5(g::text) from generate_series(1, 3000) g",
        "insert into r select g, md5(g::text) from generate_series(1, 6000) g",
    )
    before, target = definitions(database), pass_a_second()
    held = database.rows("select n, body from r order by 1")
    database.run("truncate t", "delete from r where n % 3 > 0")
    case = cli("open", *restoring(cli, database, target)[1:-2], "--load", "in-place").out.strip()
    apply = ("apply", case, digest_of(cli, case), "--confirm", database.name, "--max-wal-rate", "1GiB")
    process = cli.start("SIGKILL", "load.intent#3", "-", *apply, module=SIGNAL_AT)
    process.communicate(timeout=120)
    database.run("truncate t")  # the tests run once more
    resumed = cli("resume", case)
    assert "stay" not in resumed.err
    cli("close", case)
    assert database.rows("select n, body from r order by 1") == held
    assert indexes(database) == {"t_pkey", "by_body"}
    assert built_by(definitions(database)) == built_by(before)


def test_a_row_that_an_index_refuses_is_told_and_keeps_no_other_away(
    cli: Cli, database: Database, incident: Incident
) -> None:
    database.run("create index by_num on t ((('0' || body)::int)) where n < 0")
    before = definitions(database)
    case = killed(cli, database, incident, "indexes.dropped", "-")
    database.run("insert into t values (-1, 'two')")
    closed = cli("close", case)
    assert closed.code == 54, closed.err
    refused = 'public.by_num: the server refuses it: invalid input syntax for type integer: "0two"'
    assert refused in closed.err
    assert 'error[load-refused]: 1 index of public.t ("by_num") cannot be built\n' in closed.err
    assert "resume" not in closed.err, "a case that is being given up cannot be resumed"
    assert indexes(database) == {"t_pkey", "by_body", "by_part"}
    schema = f"rowback_case_{case.replace('-', '_')}"
    assert f"comment on schema {schema} is null" in closed.err
    database.run("delete from t")
    # a deleted row is entered as well until no older transaction can see it, such as the watch of the killed process
    wait_until(lambda: cli("close", case).code == 0, "the index is built")
    assert definitions(database) == before


def test_an_index_that_is_not_wanted_any_more(cli: Cli, database: Database, incident: Incident) -> None:
    """As the help says: the comment is what is still to be built."""
    case = killed(cli, database, incident, "indexes.dropped", "-")
    database.run("create table by_part (n int)")
    assert 'public.by_part: the server refuses it: relation "by_part" already exists' in cli("close", case).err
    database.run(f"comment on schema rowback_case_{case.replace('-', '_')} is null")
    assert cli("close", case).code == 0
    assert indexes(database) == {"t_pkey", "by_body"}


@pytest.mark.parametrize("verb", ["close", "resume"])
def test_a_table_with_another_name_is_not_forgotten(
    cli: Cli, database: Database, incident: Incident, verb: str
) -> None:
    case = killed(cli, database, incident, "indexes.dropped", "-")
    database.run("alter table t rename to t_emptied", "create table t (n int primary key, body text)")
    ran = cli(verb, case)
    assert ran.code != 0
    reason = "the table that it was dropped from is not called public.t any more"
    assert f"  public.by_body: {reason}\n  public.by_part: {reason}\n" in ran.err
    assert indexes(database) == {"t_pkey1"}
    database.run("drop table t", "alter table t_emptied rename to t")
    ran = cli(verb, case) if verb == "resume" else cli("close", case)
    assert ran.code == 0, ran.err
    assert_as_it_was(database, incident)


def test_another_user_of_the_owners_role_goes_on(cli: Cli, database: Database, incident: Incident) -> None:
    roles = [name for (name,) in database.rows("select rolname from pg_roles")]
    database.as_superuser(
        *(f"create role {name} login password '{name}-pass-1'" for name in ("app_owner", "anna", "bert")
          if name not in roles),
        "grant app_owner to anna, bert",
        "grant pg_read_all_data to anna, bert",
        f'grant create on database "{database.name}" to anna, bert',
        "grant create on schema public to app_owner, anna, bert",
        "alter table t owner to app_owner",
    )  # fmt: skip
    before = definitions(database)
    anna, bert = ({"PGUSER": name, "PGPASSWORD": f"{name}-pass-1"} for name in ("anna", "bert"))
    process = cli.start("SIGKILL", "indexes.dropped", "-", *in_place(cli, database, incident), module=SIGNAL_AT, **anna)
    process.communicate(timeout=120)
    case = the_case(cli)["case"]
    assert indexes(database) == {"t_pkey"}
    resumed = cli("resume", case, **bert)
    assert resumed.code == 0, resumed.err
    assert database.rows("select count(*) from t") == [(3000,)]
    assert built_by(definitions(database)) == built_by(before)
    planned = cli("plan", *in_place(cli, database, incident)[1:-6])
    assert "still to be built" not in planned.out + planned.err


@pytest.fixture
def without_room(database: Database) -> Incident:
    """A truncated table whose index cannot be built from its rows: the role may write no file of that size."""
    database.run(
        "create table t (n int primary key, body text)",
        "create index by_body on t (body)",
        "insert into t select g, md5(g::text) || md5(g::text) from generate_series(1, 120000) g",
    )
    held, target = {QUERY: database.rows(QUERY)}, pass_a_second()
    database.run("truncate t")
    database.as_superuser(
        f"alter role postgres in database \"{database.name}\" set temp_file_limit = '1MB'",
        "alter table t set (parallel_workers = 2)",  # workers hand over what they sorted in files
    )
    return Incident(target, held, definitions(database))


def test_a_build_for_which_there_is_no_room(cli: Cli, database: Database, without_room: Incident) -> None:
    """The rows are entered one by one then, as with --load plain."""
    ran = cli(*in_place(cli, database, without_room))
    assert ran.code == 0, ran.err
    assert "loaded again with all indexes in their places: the server refuses it: temporary file size" in ran.err
    assert {QUERY: database.rows(QUERY)} == without_room.held
    assert definitions(database) == without_room.definitions


def test_no_load_is_tried_again_and_no_case_closed_while_an_index_is_missing(
    cli: Cli, database: Database, without_room: Incident, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody takes the table as soon as the load has let go of it: the index cannot come back at once."""
    monkeypatch.setattr(unbuilt_indexes, "DEADLINE_S", 0.5)
    with database.connect() as other:

        def taken_by_another(recovery_run: object) -> None:
            other.execute("begin")
            other.execute("lock table t in row exclusive mode")

        with monkeypatch.context() as patch:
            patch.setattr(unbuilt_indexes, "_build_if_possible", taken_by_another)
            ran = cli(*in_place(cli, database, without_room))
        assert 'error[lock-not-granted]: 1 index of public.t ("by_body") cannot be built' in ran.err
        assert the_case(cli)["outcome"] == "open"
        assert database.rows("select count(*) from t") == [(0,)]
        other.execute("rollback")
    resumed = cli("resume", the_case(cli)["case"])
    assert resumed.code == 0, resumed.err
    assert {QUERY: database.rows(QUERY)} == without_room.held
    assert definitions(database) == without_room.definitions


def test_an_event_trigger_made_since_the_plan_keeps_them(cli: Cli, database: Database, incident: Incident) -> None:
    case = cli("open", *restoring(cli, database, incident.target)[1:-2], "--load", "in-place").out.strip()
    digest = digest_of(cli, case)
    database.as_superuser(
        "create function refuse() returns event_trigger language plpgsql as $$ begin raise 'no drops here'; end $$",
        "create event trigger refuse on sql_drop execute function refuse()",
    )
    ran = cli("apply", case, digest, "--confirm", database.name)
    database.as_superuser("drop event trigger refuse", "drop function refuse()")
    assert ran.code == 0, ran.err
    assert cli("resume", case).code == 0
    assert_recovered(cli, database, incident)


def test_compared_again_after_a_kill_they_go_again(cli: Cli, database: Database, incident: Incident) -> None:
    case = killed(cli, database, incident, "indexes.dropped", "-")
    again = cli("diff", case, "--again")
    assert "2 indexes of public.t" in again.out + again.err
    assert indexes(database) == {"t_pkey", "by_body", "by_part"}
    ran = cli("apply", case, digest_of(cli, case), "--confirm", database.name)
    assert "2 indexes built" in ran.err
    assert cli("resume", case).code == 0
    assert_recovered(cli, database, incident)


def test_a_table_beside_may_have_any_name(cli: Cli, database: Database) -> None:
    database.run(
        "create table dropped_indexes (n int primary key)", "insert into dropped_indexes select generate_series(1, 30)"
    )
    target = pass_a_second()
    database.run("truncate dropped_indexes")
    assert cli(*restoring(cli, database, target, "--table", "dropped_indexes", "--mode", "beside")).code == 0
    case: dict[str, Any] = the_case(cli)
    where = ("cleanup", database.live.identifier, "--database", database.name)
    assert "removed" in cli(*where, "--case", case["case"], "--confirm", database.name).out


@pytest.mark.parametrize("comment", ["ours, please ask", '{"a b": 1, "": null, "x"": {}}', "[1]", "7"])
def test_a_comment_of_a_persons_own_ends_no_command(
    cli: Cli, database: Database, incident: Incident, comment: str
) -> None:
    schema = "rowback_case_20260101_000000_abcd"
    database.run(f"create schema {schema}", f"comment on schema {schema} is '{comment}'")
    planned = cli("plan", *in_place(cli, database, incident)[1:-6])
    assert planned.code == 0, planned.err
    listed = cli("cleanup", database.live.identifier, "--database", database.name)
    assert (listed.code, schema in listed.out) == (0, True), listed.err
