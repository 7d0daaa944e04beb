"""Every committed destructive statement of a real log is found with its outcome; no rolled-back one is committed."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import lru_cache

import pytest

from recovery.incident.scan_log import find_in
from recovery.incident.session_tracking import Sessions
from recovery.incident.statement_retention import Keeper
from recovery.incident.statement_sighting import Outcome, Sighting
from recovery.incident.stderr_log import read_stderr
from recovery.incident.structured_log import read_csv, read_json
from tests.incident.corpus import CASES
from tests.incident.fix_logs import FORMATS, WAYS, Logs
from tests.incident.log_stages import GONE, C, Case

# What is not in the log cannot be found in it: failed statements are told by no duration, …
FAILED = {
    "the_statement_itself_fails",
    "several_in_one_message_of_which_the_last_fails",
    "cancelled",
    "block_that_fails",
}
# … and `mod` and pgaudit's classes do not tell of these.
NOT_MOD = {"block", "block_that_fails", "function", "cte", "copy_of_a_delete"}


# pgaudit is to be had for PostgreSQL 15 alone.
LESS = [
    (version, way)
    for version in ("logs17", "logs15")
    for way in WAYS
    if way not in ("whole", "durations") and (version, way) != ("logs17", "audit")
]


@lru_cache(maxsize=16)
def sightings(logs: Logs, form: str) -> dict[tuple[str, str], list[Sighting]]:
    """By way of logging and table."""
    whole = logs.read(form)
    chunks = [whole[at : at + 10_007] for at in range(0, len(whole), 10_007)]
    sessions = Sessions()
    for record in {
        "stderr": lambda: read_stderr(chunks, logs.prefix),
        "csv": lambda: read_csv(chunks),
        "json": lambda: read_json(chunks),
    }[form]():
        sessions.feed(record)
    found = defaultdict(list)
    for sighting in sessions.finish():
        for table in set(re.findall(r"\bt_(\w+)", sighting.text)):
            found[sighting.record.database, table].append(sighting)
    return found


def told(case: Case, found: list[Sighting]) -> list[tuple[str, set[str]]]:
    """For each expected statement, the outcomes of all that look like it."""
    return [(part, {s.outcome.value for s in found if begins(s, part)}) for part, _ in case.expected]


def begins(sighting: Sighting, part: str) -> bool:
    return " ".join(sighting.text.lower().split()).startswith(part)


def expected(case: Case, way: str) -> list[tuple[str, str]]:
    gone = "rolled back" if way == "durations" else "unknown"
    return [(part, gone if outcome == GONE else outcome) for part, outcome in case.expected]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("way", ["whole", "durations"])
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("version", ["logs17", "logs15"])
def test_where_everything_is_logged_every_outcome_is_known(
    request: pytest.FixtureRequest, version: str, form: str, way: str, name: str
) -> None:
    logs: Logs = request.getfixturevalue(version)
    found = sightings(logs, form)[way, name]
    assert told(CASES[name], found) == [(part, {outcome}) for part, outcome in expected(CASES[name], way)]
    for sighting in found:
        assert sighting.until_s is None or sighting.from_s <= sighting.until_s + 1


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("version", "way"), LESS)
def test_where_less_is_logged_nothing_wrong_is_said(
    request: pytest.FixtureRequest, version: str, form: str, way: str, name: str
) -> None:
    logs: Logs = request.getfixturevalue(version)
    if way not in logs.ways:
        pytest.skip("pgaudit is not installed here (apt-get install postgresql-15-pgaudit brings it)")
    case, found = CASES[name], sightings(logs, form)[way, name]
    if not ((name in NOT_MOD and way != "only_durations") or name in FAILED):
        for part, outcomes in told(case, found):
            assert outcomes, f"{part} was not found"
    for part, outcome in expected(case, way):
        outcomes = {s.outcome for s in found if begins(s, part)}
        if outcome != C:
            assert Outcome.COMMITTED not in outcomes, "a rolled-back statement is called committed"
        else:
            assert Outcome.ROLLED_BACK not in outcomes
    if way == "only_durations":
        assert told(case, found) == [
            (part, {outcome} if name not in FAILED else set()) for part, outcome in expected(case, way)
        ]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("version", ["logs17", "logs15"])
def test_what_is_passed_over_changes_nothing(request: pytest.FixtureRequest, version: str, form: str) -> None:
    """`find_in` decodes a fraction of the records, and comes to the same outcomes."""
    logs: Logs = request.getfixturevalue(version)
    everything, whole = Sessions(Keeper()), [logs.read(form)]
    readers = {
        "stderr": lambda: read_stderr(whole, logs.prefix),
        "csv": lambda: read_csv(whole),
        "json": lambda: read_json(whole),
    }
    for record in readers[form]():
        everything.feed(record)
    found = find_in([logs.read(form)], logs.prefix, form)  # type: ignore[arg-type]
    assert [(s.text, s.outcome, s.record.database) for s in found.sightings] == [
        (s.text, s.outcome, s.record.database) for s in everything.finish()
    ]
    assert len(found.sightings) > 100


def test_the_corpus_is_large_enough() -> None:
    assert len(CASES) * len(FORMATS) >= 120
