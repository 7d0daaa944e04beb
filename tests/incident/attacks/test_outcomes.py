"""What became of statements that a log names."""

from __future__ import annotations

import pytest

from recovery.incident.log_line_prefix import OF_RDS
from recovery.incident.scan_log import find_in
from recovery.incident.statement_retention import Keeper
from tests.incident.attacks.excerpts import AUTHORIZED, CLOSED, log, said

pytestmark = pytest.mark.matrix


def outcomes(text: str, prefix: str = OF_RDS) -> list[tuple[str, str]]:
    return [(each.text, each.outcome.value) for each in find_in([text.encode()], prefix).sightings]


EXCERPTS = {
    "pgaudit tells of reads without telling of BEGIN": (
        log(
            AUTHORIZED,
            "LOG:  AUDIT: SESSION,1,1,WRITE,DELETE,TABLE,public.t,delete from t,<none>",
            "LOG:  AUDIT: SESSION,2,1,READ,SELECT,TABLE,public.t,select * from t,<none>",
        ),
        "unknown",
    ),
    "a slow COMMIT does not tell that quick ones are logged": (
        log(
            AUTHORIZED,
            said("delete from t"),
            said("insert into x values (1)"),
            "LOG:  duration: 1200.1 ms  statement: COMMIT",
        ),
        "unknown",
    ),
    "nor does it where the session began before the log": (
        log(said("delete from t"), said("insert into x values (1)"), "LOG:  duration: 1200.1 ms  statement: COMMIT"),
        "unknown",
    ),
    "a quick one does": (
        log(AUTHORIZED, said("delete from t"), "LOG:  duration: 0.1 ms  statement: COMMIT", said("select 1")),
        "committed",
    ),
    "settings that change later say nothing of before": (
        log(
            AUTHORIZED,
            said("delete from t"),
            'LOG:  parameter "log_statement" changed to "all"',
            said("begin"),
            said("commit"),
        ),
        "unknown",
    ),
    "an error behind it in the same batch": (
        log(
            AUTHORIZED,
            said("select 1"),
            "LOG:  execute <unnamed>: delete from t",
            "LOG:  execute <unnamed>: insert into t values ($1)",
            "ERROR:  duplicate key",
            "STATEMENT:  insert into t values ($1)",
        ),
        "unknown",
    ),
    "an error behind the next Sync": (
        log(
            AUTHORIZED,
            said("select 1"),
            "LOG:  execute <unnamed>: delete from t",
            said("select 1"),
            "ERROR:  duplicate key",
            "STATEMENT:  insert into t values ($1)",
        ),
        "committed",
    ),
    "a savepoint released, and its namesake rolled back to": (
        log(
            said("begin"),
            said("savepoint a"),
            said("delete from t"),
            said("savepoint a"),
            said("release a"),
            said("rollback to a"),
            said("commit"),
            said("select 1"),
        ),
        "rolled back",
    ),
    "a savepoint from before the log": (
        log(said("delete from t"), said("rollback to one"), said("commit"), said("select 1")),
        "unknown",
    ),
    "BEGIN in a block is a warning": (
        log(
            said("begin"),
            said("savepoint a"),
            said("delete from t"),
            said("begin"),
            said("rollback to a"),
            said("commit"),
            said("select 1"),
        ),
        "rolled back",
    ),
    "savepoints named with a dollar": (
        log(
            said("begin"),
            said("savepoint a$1"),
            said("delete from t"),
            said("savepoint a$2"),
            said("rollback to a$1"),
            said("commit"),
            said("select 1"),
        ),
        "rolled back",
    ),
    "the process id went to another role": (
        log(said("begin"), said("delete from t"))
        + log(
            said("begin"), said("insert into t values (1)"), said("commit"), said("select 1"), role="other", minute=1
        ),
        "rolled back",
    ),
    "COMMIT, and the session ends": (
        log(AUTHORIZED, said("begin"), said("delete from t"), said("commit"), CLOSED),
        "committed",
    ),
    "COMMIT, and the session is ended": (
        log(
            AUTHORIZED,
            said("begin"),
            said("delete from t"),
            said("commit"),
            "FATAL:  terminating connection due to administrator command",
        ),
        "unknown",
    ),
    "COMMIT, and the server restarts": (
        log(AUTHORIZED, said("begin"), said("delete from t"), said("commit"))
        + "2026-11-22 14:30:00 UTC::@:[1]:LOG:  database system is ready to accept connections\n",
        "unknown",
    ),
    "a syntax error is that of another text": (
        log(
            AUTHORIZED,
            said("select 1"),
            said("delete from t"),
            'ERROR:  syntax error at or near "selec"',
            said("select 1"),
        ),
        "committed",
    ),
    "log_error_verbosity = verbose": (
        log(
            AUTHORIZED,
            "LOG:  00000: statement: begin",
            "LOG:  00000: statement: delete from t",
            "LOG:  00000: statement: commit",
            "LOG:  00000: statement: select 1",
        ),
        "committed",
    ),
    "the role is known only once it has connected": (
        log("LOG:  connection received: host=1.1.1.1 port=5", role="[unknown]")
        + log(AUTHORIZED, said("begin"), said("commit"), said("delete from t"), said("select 1"), minute=1),
        "committed",
    ),
}


@pytest.mark.parametrize("name", EXCERPTS)
def test_what_became_of_the_delete(name: str) -> None:
    text, outcome = EXCERPTS[name]
    assert [each for each in outcomes(text) if each[0] == "delete from t"] == [("delete from t", outcome)]


def test_the_same_text_twice_is_two_statements_and_only_the_second_failed() -> None:
    text = log(
        AUTHORIZED,
        said("begin"),
        said("commit"),
        said("truncate t"),
        said("truncate t"),
        "ERROR:  canceling statement due to lock timeout",
        "STATEMENT:  truncate t",
        said("select 1"),
    )
    assert outcomes(text) == [("truncate t", "committed"), ("truncate t", "rolled back")]


def test_what_ran_inside_a_function_may_have_been_taken_back() -> None:
    audit = 'LOG:  AUDIT: SESSION,1,{},{},{},,,"{}",<none>'
    text = log(
        AUTHORIZED,
        said("select f()"),
        audit.format(1, "READ", "SELECT", "select f()"),
        audit.format(2, "WRITE", "DELETE", "delete from t"),
        said("select 1"),
    )
    assert ("delete from t", "unknown") in outcomes(text)


@pytest.mark.parametrize(
    "text",
    [
        "delete from articles -- where id = 5",
        "delete from articles /* where id = 5",
        "delete from t where tenant_id = 42",
        "update users set x = 1 where paid = 1",
        "update t set x = 0 where valid = 1",
        "delete from t using c where c.id = 5",
        "update t set x = c.x from c where c.id = 5",
        "update t set x = (select x from c where id = 5)",
        "delete from t where id = 1 and exists (select 1)",
        "delete from t where id = 1 and x = 2 or true",
        "delete from a where b in (select b from c where id = 1 and x = 2)",
    ],
)
def test_a_write_that_only_looks_as_if_it_named_its_row_is_found(text: str) -> None:
    assert outcomes(log(said("begin"), said(text), said("commit"), said("select 1"))) == [(text, "committed")]


def test_numbers_are_alike_and_names_with_digits_are_not() -> None:
    """What a statement is, is remembered by its shape, whatever its numbers."""
    plain = ["delete from t1 where t1_id = 5", "select abs(1)", "delete from articles where id = 5"]
    others = ["delete from t2 where t1_id = 5", "delete from t1 where t2_id = 6", "select abs1(1)"]
    text = log(*(said(each) for each in (*plain, *others, *plain, "select 1")))
    assert [each for each, _ in outcomes(text)] == others


@pytest.mark.parametrize(
    "text",
    [
        "delete from articles where id = 5",
        "update orders set state = 'paid', updated_at = now() where id = 7",
        "delete from customers where customer_id = $1 and active",
        'update "Track" set "Name" = \'x\' where "TrackId" = 7',
    ],
)
def test_a_write_that_names_its_row_is_not(text: str) -> None:
    assert outcomes(log(said("begin"), said(text), said("commit"), said("select 1"))) == []


def test_many_small_ones_do_not_push_out_the_one_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recovery.incident.statement_retention.MOST", 10)
    small = [said(f"update jobs set state = 'run' where queue > {n}") for n in range(40)]
    text = log(said("begin"), *small, said("drop table customers"), said("commit"), said("select 1"))
    keeper = Keeper()
    found = find_in([text.encode()], OF_RDS, keeper=keeper)
    assert (found.sightings[-1].text, found.dropped) == ("drop table customers", 30)
