"""Lines that are too long, odd, cut or secret, and what comes all day."""

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
from tests.incident.attacks.excerpts import AUTHORIZED, CLOSED, log, said

pytestmark = pytest.mark.matrix


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
