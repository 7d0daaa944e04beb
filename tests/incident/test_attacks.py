"""Logs that once were read wrongly: said to be committed though rolled back, the other way round, or not read at all.

Each was found by an attack on real servers, whose rows told the truth; the excerpts keep what their logs said.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from recovery.incident.log_line_prefix import OF_RDS, unclear_zone
from recovery.incident.scan_log import find_in
from recovery.incident.statement_retention import Keeper

pytestmark = pytest.mark.matrix

AUTHORIZED = "LOG:  connection authorized: user=app database=db"
CLOSED = "LOG:  disconnection: session time: 0:00:01"


def said(text: str) -> str:
    return f"LOG:  statement: {text}"


def log(*messages: str, pid: int = 7, role: str = "app", minute: int = 0, zone: str = "UTC") -> str:
    return "".join(
        f"2026-11-22 14:{minute:02d}:{second:02d} {zone}:1.1.1.1(5):{role}@db:[{pid}]:{message}\n"
        for second, message in enumerate(messages)
    )


def rowback_find(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Raises subprocess.TimeoutExpired for a log that is read for ever."""
    return subprocess.run(
        [sys.executable, "-m", "recovery.cli", "find", *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


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


def test_the_session_id_tells_the_process_where_nothing_else_does() -> None:
    text = "2026-11-22 14:00:00.123 UTC|app|db|65f0.1a2b|LOG:  statement: drop table t\n"
    assert [each.record.pid for each in find_in([text.encode()], "%m|%u|%d|%c|").sightings] == [0x1A2B]


@pytest.mark.parametrize(
    "text",
    [
        log(said("/* x */ " * 200 + "select 1")),
        log(said("/**/" * 2000 + "truncate t")),
        "2026-11-22 14:00:00 UTC:" + "a:b@c:[1] " * 5000 + "FEHLER:  x\n",
        log(said("update t set x = 1 " + "where id = 1 and " * 20000 + ";")),
    ],
    ids=["comments", "more comments", "no severity", "conditions"],
)
def test_no_line_takes_for_ever(text: str, tmp_path: Path) -> None:
    path = tmp_path / "postgresql.log"
    path.write_text(text)
    # The third is no record at all, the first destroys nothing.
    assert rowback_find("--log", path, "--log-line-prefix", OF_RDS).returncode in (0, 2, 43)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("stderr", log("LOG:  duration: 1.1.1 ms  statement: drop table t")),
        ("stderr", f"2026-11-22 14:00:00 UTC:a:b@c:[{'1' * 5000}]:LOG:  statement: drop table t\n"),
        (
            "json",
            json.dumps(
                {
                    "timestamp": "2026-11-22 14:00:00.123 UTC",
                    "error_severity": "LOG",
                    "message": "statement: drop table t",
                }
            )[:-1]
            + ', "pid": 1e999}\n',
        ),
    ],
)
def test_a_number_that_is_none_costs_its_line_alone(form: str, text: str) -> None:
    assert find_in([text.encode()], OF_RDS, form).sightings == ()  # type: ignore[arg-type]


@pytest.mark.parametrize("zone", ["BST", "CST", "IST", "NZDT"])
def test_a_zone_that_names_no_one_offset_is_told(zone: str, tmp_path: Path) -> None:
    path = tmp_path / "postgresql.log"
    path.write_text(log(AUTHORIZED, said("begin"), said("delete from t"), said("commit"), CLOSED, zone=zone))
    printed = rowback_find("--log", path).stdout
    assert "no target time is proposed: the zone of this log's times is not known" in printed
    assert f"its times are in '{zone}', which names no one offset: say which zone that is, --log-timezone" in printed
    named = rowback_find("--log", path, "--log-timezone", "Pacific/Auckland").stdout
    assert "target time 2026-11-22T01:00:02Z, confidence high" in named
    assert rowback_find("--log", path, "--log-timezone", zone).stderr.startswith(
        f"error[usage]: '{zone}' is no time zone with one offset at a time\n"
    )


@pytest.mark.parametrize("zone", ["UTC", "CET", "EDT", "Europe/Paris", "+02"])
def test_others_are_not(zone: str) -> None:
    assert unclear_zone(log(said("select 1"), zone=zone).encode(), OF_RDS) is None


def test_logs_are_read_in_the_order_of_their_times(tmp_path: Path) -> None:
    newer, older = tmp_path / "postgresql.log", tmp_path / "postgresql.log.1"
    older.write_text(log(AUTHORIZED, said("begin"), said("delete from t")))
    newer.write_text(log(said("rollback"), said("select 1"), minute=1))
    printed = rowback_find("--log", newer, "--log", older).stdout
    assert "rolled back: ROLLBACK" in printed


def test_of_two_formats_the_one_that_knows_the_outcome_counts(tmp_path: Path) -> None:
    cut, whole = tmp_path / "postgresql.json", tmp_path / "postgresql.log"
    row = {"timestamp": "2026-11-22 14:00:02.000 UTC", "pid": 7, "error_severity": "LOG", "user": "app", "dbname": "db"}
    cut.write_text(json.dumps({**row, "message": "statement: delete from t"}) + "\n")
    whole.write_text(log(AUTHORIZED, said("begin"), said("delete from t"), said("commit"), CLOSED))
    assert "1. unknown: DELETE t" in rowback_find("--log", cut).stdout
    printed = rowback_find("--log", cut, "--log", whole).stdout
    assert printed.startswith("1 statement of the log that may have destroyed something\n\n1. committed: DELETE t")


def test_confidence_is_low_where_more_was_found_than_kept(tmp_path: Path) -> None:
    path = tmp_path / "postgresql.log"
    path.write_text(log(said("begin")) + log(said("truncate t")) * 20_003 + log(said("commit"), said("select 1")))
    printed = rowback_find("--log", path, "--log-line-prefix", OF_RDS).stdout
    assert "3 statements beyond the first 20,000 of their kind were not kept" in printed
    assert "confidence low" in printed


SECRET = "OPENSECRET"


@pytest.mark.parametrize(
    "text",
    [
        f"alter table t alter x type int using '{SECRET}'::int",
        f"delete from t where x > 1 -- {SECRET}",
        f"delete from t where x > 1 /* {SECRET} */",
        f"delete from t where x > 1 and b = '{SECRET}",
        f"delete from t where x > 1 and b = e'it\\'s {SECRET}",
        f"delete from t where x > 1 and b = $${SECRET}",
    ],
)
def test_values_are_shown_only_when_asked_for(text: str, tmp_path: Path) -> None:
    path = tmp_path / "postgresql.log"
    failed = [f'ERROR:  invalid input syntax for type integer: "{SECRET}"', f"STATEMENT:  {text}"]
    path.write_text(log(AUTHORIZED, said(text), *failed, said("select 1"), CLOSED))
    for form in ([], ["--json"]):
        hidden = rowback_find("--log", path, *form).stdout
        assert (SECRET in hidden, "rolled back" in hidden) == (False, True)
        assert SECRET in rowback_find("--log", path, "--show-values", *form).stdout


def test_a_directory_is_no_log(tmp_path: Path) -> None:
    result = rowback_find("--log", tmp_path)
    assert result.returncode == 2
    assert f"error[log-unreadable]: the log '{tmp_path}' cannot be read: it is a directory" in result.stderr


@pytest.mark.parametrize("damage", ["cut", "garbled"])
def test_a_compressed_log_that_breaks_off_is_read_as_far_as_it_goes(tmp_path: Path, damage: str) -> None:
    """Told, and with low confidence: what stood behind is not known."""
    whole = gzip.compress(
        (
            log(AUTHORIZED, said("truncate t"), said("select 1"))
            + "".join(log(said(f"select {n * 7919}"), minute=n % 60) for n in range(20_000))
        ).encode()
    )
    half, path = len(whole) // 2, tmp_path / "postgresql.log.gz"
    path.write_bytes(whole[:half] if damage == "cut" else whole[:half] + bytes(1000) + whole[half + 1000 :])
    ran = rowback_find("--log", path)
    printed = ran.stdout
    assert "1. committed: TRUNCATE t" in printed, ran.stderr
    assert "target time 2026-11-22T14:00:01Z, confidence low" in printed
    assert re.search(rf"^  '{re.escape(str(path))}' could be read for [\d,]+ bytes only: ", printed, re.MULTILINE)


BEGUN = (AUTHORIZED, said("begin"), said("commit"))


@pytest.mark.parametrize(
    "made",
    [
        ("create temp table orders (id int)", "drop table if exists pg_temp.orders"),
        ("create temp table orders (id int)", "alter table orders rename to o2"),
        ("create temp table orders (id int)", "set search_path = public, pg_temp"),
        ("create temp table orders (id int)", "drop table orders, junk"),
        ("begin", "create temp table orders (id int)", "rollback"),
        ("create temp table if not exists orders (id int)",),
        ("create temp table orders (id int) on commit drop",),
    ],
)
@pytest.mark.parametrize("loss", ["delete from orders", "truncate orders"])
def test_a_real_table_with_the_name_of_a_temporary_one_is_never_passed_over(
    tmp_path: Path, made: tuple[str, ...], loss: str
) -> None:
    path = tmp_path / "postgresql.log"
    path.write_text(log(*BEGUN, *map(said, made), said(loss), said("select 1")))
    printed = rowback_find("--log", path).stdout
    assert f"{loss.split(maxsplit=1)[0].upper()} orders" in printed, printed


def test_a_temporary_table_is_passed_over_where_a_rollback_would_be_logged(tmp_path: Path) -> None:
    path, made = tmp_path / "postgresql.log", said("create temp table orders (id int)")
    path.write_text(log(*BEGUN, made, said("truncate orders"), said("select 1")))
    assert "TRUNCATE" not in rowback_find("--log", path).stdout
    path.write_text(log(AUTHORIZED, made, said("truncate orders")))
    assert "TRUNCATE orders" in rowback_find("--log", path, "--log-line-prefix", OF_RDS).stdout


def test_a_burst_from_many_sessions_is_no_habit(tmp_path: Path) -> None:
    """Ten workers emptied it within a second each; an hour later somebody dropped another table."""
    path = tmp_path / "postgresql.log"
    burst = "".join(log(*BEGUN, said("truncate orders"), said("select 1"), pid=n, minute=n) for n in range(1, 9))
    path.write_text(burst + log(*BEGUN, said("drop table other"), said("select 1"), pid=50, minute=59))
    printed = rowback_find("--log", path).stdout
    assert "before all of them: 2026-11-22T14:01:03Z" in printed, printed
    assert "one of" not in printed.partition("which of")[2]


def test_what_comes_all_day_may_have_gone_wrong_once(tmp_path: Path) -> None:
    """An hourly purge, and one far UPDATE later: it is proposed, never with high confidence, and the purge is told."""
    path = tmp_path / "postgresql.log"
    purges = "".join(
        log(*BEGUN, said(f"delete from sessions where seen < {n}"), said("select 1"), pid=n, minute=5 * n)
        for n in range(1, 10)
    )
    path.write_text(purges + log(*BEGUN, said("update t set x = 1 where y = 5"), said("select 1"), pid=70, minute=55))
    printed = rowback_find("--log", path).stdout
    assert "confidence low" in printed, printed
    assert "9 statements that come all day were left aside, the last of them at 2026-11-22T14:45:03Z" in printed, (
        printed
    )
