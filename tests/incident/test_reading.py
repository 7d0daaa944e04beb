"""Logs as they really come: other prefixes and zones, cut anywhere, truncated by RDS, and full of nonsense."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery.incident.log_line_prefix import OF_RDS, guess
from recovery.incident.log_record import TRUNCATED, LogRecord
from recovery.incident.scan_log import find_in
from recovery.incident.session_tracking import Sessions
from recovery.incident.statement_sighting import Outcome
from recovery.incident.stderr_log import read_stderr
from recovery.incident.structured_log import read_csv, read_json
from tests.incident.fix_logs import FORMATS, Logs

HEAD = "2026-11-22 14:20:00 UTC:10.0.0.7(51234):ann@docs:[77]:"
AT = datetime(2026, 11, 22, 14, 20, tzinfo=UTC).timestamp()


def stderr(text: str, prefix: str = OF_RDS, size: int = 10_000) -> list[LogRecord]:
    raw = text.encode()
    return list(read_stderr([raw[at : at + size] for at in range(0, len(raw), size)], prefix))


@pytest.mark.parametrize(
    ("prefix", "head", "expected"),
    [
        (OF_RDS, HEAD, (AT, 77, "ann", "docs", "10.0.0.7", "")),
        (
            "%m [%p] %q%u@%d/%a ",
            "2026-11-22 14:20:00.250 UTC [77] ann@docs/psql ",
            (AT + 0.25, 77, "ann", "docs", "", "psql"),
        ),
        ("%m [%p] %q%u@%d/%a ", "2026-11-22 14:20:00.250 UTC [77] ", (AT + 0.25, 77, "", "", "", "")),
        (
            "%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
            "2026-11-22 23:20:00 KST [77]: [3-1] user=ann,db=docs,app=my app,client=10.0.0.7 ",
            (AT, 77, "ann", "docs", "10.0.0.7", "my app"),
        ),
        ("<%t %p> ", "<2026-11-22 09:20:00 -05 77> ", (AT, 77, "", "", "", "")),
        ("%n|%p|", f"{AT + 0.5:.3f}|77|", (AT + 0.5, 77, "", "", "", "")),
        ("%-6p %t: ", "77     2026-11-22 15:20:00 CET: ", (AT, 77, "", "", "", "")),
        ("%t %% %p ", "2026-11-22 15:20:00 Europe/Berlin % 77 ", None),
    ],
)
def test_prefixes(prefix: str, head: str, expected: tuple[object, ...] | None) -> None:
    found = stderr(f"{head}LOG:  statement: select 1\n", prefix)
    told = [(r.at, r.pid, r.role, r.database, r.client, r.application) for r in found]
    assert told == ([expected] if expected else [])


def test_the_prefix_is_guessed_from_the_log() -> None:
    text = f"{HEAD}LOG:  statement: select 1\n".encode() * 3
    assert guess(text) == OF_RDS
    assert guess(text, configured="%m [%p] ") == OF_RDS, "what the server says now need not be what it was"
    assert guess(b"nothing of the kind\n") is None


def test_continuation_lines_belong_to_their_record() -> None:
    (record,) = stderr(f"{HEAD}LOG:  statement: delete\n\tfrom a\n\t\twhere true\n", size=7)
    assert record.message == "statement: delete\nfrom a\n\twhere true"


def test_what_rds_cut_off_costs_that_record_alone() -> None:
    """The rest of the portion is lost, and the next one begins on the same line (aws-cli#3079)."""
    cut = f"{HEAD}LOG:  statement: truncate a, b{TRUNCATED.decode()}{HEAD}LOG:  statement: delete from c\n"
    first, second = stderr(cut, size=13)
    assert first.message == f"statement: truncate a, b{TRUNCATED.decode()}"
    assert second.message == "statement: delete from c"


def outcomes(records: list[LogRecord]) -> list[tuple[str, Outcome]]:
    sessions = Sessions()
    for record in records:
        sessions.feed(record)
    return [(sighting.text, sighting.outcome) for sighting in sessions.finish()]


def test_a_log_that_begins_amid_a_session_calls_nothing_committed_too_early() -> None:
    """Its BEGIN may stand in the file before."""
    lines = [
        "LOG:  statement: delete from a",
        "LOG:  statement: select 1",
        "LOG:  statement: rollback",
        "LOG:  statement: select 2",
    ]
    records = stderr("".join(f"{HEAD}{line}\n" for line in lines))
    assert dict(outcomes(records))["delete from a"] is Outcome.ROLLED_BACK
    assert dict(outcomes(records[:2]))["delete from a"] is Outcome.UNKNOWN
    begun = stderr("".join(f"{HEAD}{line}\n" for line in ("LOG:  statement: delete from a", "LOG:  statement: begin")))
    assert dict(outcomes(begun))["delete from a"] is Outcome.COMMITTED, "what comes before BEGIN was no part of a block"


def at(minute: int, line: str, pid: int = 1) -> str:
    return f"2026-11-22 14:{minute:02d}:00 UTC:1.1.1.1(5):ann@docs:[{pid}]:LOG:  {line}\n"


def test_a_statement_by_itself_is_committed_where_its_begin_would_be_logged() -> None:
    """`psql -c`: one statement, and the end of its session is not logged. Others' BEGIN is, and the log is older."""
    others = at(0, "statement: begin", 7) + at(0, "statement: commit", 7) + at(1, "statement: select 1", 7)
    older = others + at(9, "statement: delete from a")
    assert dict(outcomes(stderr(older)))["delete from a"] is Outcome.COMMITTED
    young = at(9, "statement: begin", 7) + at(9, "statement: commit", 7) + at(9, "statement: delete from a")
    assert dict(outcomes(stderr(young)))["delete from a"] is Outcome.UNKNOWN
    unlogged = at(0, "statement: delete from z where x", 7) + at(9, "statement: delete from a")
    assert dict(outcomes(stderr(unlogged)))["delete from a"] is Outcome.UNKNOWN, "only writes are logged here"


def test_a_commit_that_is_the_last_of_its_session_is_one() -> None:
    block = at(1, "statement: begin") + at(1, "statement: delete from a") + at(2, "statement: commit")
    assert outcomes(stderr(block)) == [("delete from a", Outcome.COMMITTED)]
    failed = block + at(2, "statement: commit").replace("LOG:  statement: commit", "ERROR:  deferred key violated")
    assert outcomes(stderr(failed)) == [("delete from a", Outcome.ROLLED_BACK)]


def test_lines_that_name_no_session_tell_what_ran_and_no_outcome() -> None:
    """%r alone still tells sessions apart, by the port."""
    bare = "2026-11-22 14:20:00 UTC ann@docs LOG:  statement: {}\n"
    text = "".join(bare.format(each) for each in ("begin", "delete from a", "rollback", "select 1"))
    found = find_in([text.encode()], "%t %u@%d ").sightings
    assert [(s.text, s.outcome, s.why) for s in found] == [
        ("delete from a", Outcome.UNKNOWN, "the lines of this log name no session, so nothing tells its end")
    ]
    ported = text.replace("ann@docs", "10.0.0.1(5432) ann@docs")
    (sighting,) = find_in([ported.encode()], "%t %r %u@%d ").sightings
    assert sighting.outcome is Outcome.ROLLED_BACK


def test_a_crash_rolls_back_what_was_open() -> None:
    lines = ["LOG:  connection authorized: user=ann", "LOG:  statement: begin", "LOG:  statement: delete from a"]
    text = "".join(f"{HEAD}{line}\n" for line in lines)
    text += "2026-11-22 14:20:01 UTC::@:[1]:LOG:  all server processes terminated; reinitializing\n"
    assert outcomes(stderr(text)) == [("delete from a", Outcome.ROLLED_BACK)]


def test_a_process_number_that_comes_again_is_another_session() -> None:
    lines = [
        "connection authorized: user=ann",
        "statement: begin",
        "statement: delete from a",
        "connection authorized: user=bob",
        "statement: commit",
        "statement: select 1",
    ]
    assert outcomes(stderr("".join(f"{HEAD}LOG:  {line}\n" for line in lines)))[0] == (
        "delete from a",
        Outcome.ROLLED_BACK,
    )


READERS: dict[str, Callable[[Iterable[bytes], str], Iterator[LogRecord]]] = {
    "stderr": read_stderr,
    "csv": lambda raw, _: read_csv(raw),
    "json": lambda raw, _: read_json(raw),
}


@pytest.mark.parametrize("form", FORMATS)
def test_cut_anywhere_the_same_records_come_out(logs17: Logs, form: str) -> None:
    whole = logs17.read(form)[:200_000]
    expected = list(READERS[form]([whole], logs17.prefix))
    chance = random.Random(7)  # noqa: S311 (no secret)
    for _ in range(3):
        cuts = sorted(chance.sample(range(len(whole)), 400))
        chunks = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        assert list(READERS[form](chunks, logs17.prefix)) == expected


@pytest.mark.parametrize("form", FORMATS)
def test_a_broken_line_never_costs_the_record_behind_it(logs17: Logs, form: str) -> None:
    """Each of many real records, damaged at random: the next one is still read, whatever stands before it."""
    lines = logs17.read(form)[:120_000].splitlines(keepends=True)
    marker = {
        "stderr": f"{HEAD}LOG:  statement: truncate marker\n".encode(),
        "csv": b'2026-11-22 14:20:00.000 UTC,"ann","docs",77,"10.0.0.7:51234",6921d1f0.4d,3,"TRUNCATE",'
        b'2026-11-22 14:00:00 UTC,4/7,0,LOG,00000,"statement: truncate marker",,,,,,,,,"psql",'
        b'"client backend",,0\n',
        "json": b'{"timestamp":"2026-11-22 14:20:00.000 UTC","pid":77,"error_severity":"LOG",'
        b'"message":"statement: truncate marker"}\n',
    }[form]
    chance = random.Random(11)  # noqa: S311
    for _ in range(300):
        start = chance.randrange(max(1, len(lines) - 5))
        before = bytearray(b"".join(lines[start : start + chance.randrange(1, 4)]))
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(before))
            match chance.randrange(4):
                case 0:
                    before[at] = chance.randrange(256)
                case 1:
                    del before[at : at + chance.randrange(1, 40)]
                case 2:
                    before[at:at] = bytes(chance.choices(b"\"\\\x00\xff\n\t{},;'", k=3))
                case _:
                    del before[at:]
            if not before:
                break
        raw = bytes(before) + (b"" if before.endswith(b"\n") else b"\n") + marker
        found = list(READERS[form]([raw], OF_RDS))
        assert found[-1].message == "statement: truncate marker", raw


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
def test_no_bytes_crash_a_reader(noise: bytes) -> None:
    for text in (noise, HEAD.encode() + b"LOG:  " + noise, b"LOG:  statement: " + noise):
        for reader in READERS.values():
            sessions = Sessions()
            for record in reader([text], OF_RDS):
                sessions.feed(record)
            sessions.finish()
