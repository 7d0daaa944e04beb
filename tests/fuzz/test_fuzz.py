"""The fuzzer finds what is planted, gives the same inputs again, and its seeds are what the product accepts."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.target import parse_target_time
from tests.fuzz.batches import Batch, scratch_directory
from tests.fuzz.command_line import checked
from tests.fuzz.mutations import mutated
from tests.fuzz.outcomes import End, Kind, outcome_of
from tests.fuzz.runner import Bounds, Result, fuzz, is_clean, table
from tests.fuzz.target import Invocation, Target, input_of
from tests.fuzz.targets import TARGETS, books, configuration, journals, logs, plans
from tests.fuzz.targets.answers import Answer, good

FAST = Bounds(seed=1, inputs=400, limit_s=0.3, checks=0)


def _planted(act: Callable[[str], None], text: str = "2026-11-22T14:20:00Z") -> Target:
    """A target whose product call is preceded by `act`."""

    def acted(data: str, directory: Path) -> None:
        act(data)
        parse_target_time(data)

    def make(rng: Random) -> str:
        return mutated(rng, (text,), ("planted",))

    return Target("planted", make, acted, 1)


def _fuzzed(act: Callable[[str], None]) -> tuple[Result, str]:
    output: list[str] = []
    (result,) = fuzz([_planted(act)], FAST, output.append)
    return result, "\n".join(output)


def test_a_planted_traceback_is_reported_with_a_small_input() -> None:
    def act(data: str) -> None:
        if "planted" in data:
            raise KeyError(data)

    result, output = _fuzzed(act)
    (kind,) = result.defects
    assert kind == Kind(End.TRACEBACK, "KeyError")
    assert result.batch.kinds[kind] > 1
    assert output.count("again: ") == 1
    assert "  input: 'planted'\n  again: python -m tests.fuzz --seed 1 --target planted --index " in output
    assert "KeyError: " in output
    assert not is_clean([result])
    assert f"{result.count(End.TRACEBACK)} of 1 kinds" in table([result])


def test_a_planted_hang_ends_with_its_time_and_the_rest_is_tried() -> None:
    def act(data: str) -> None:
        while data.startswith("20") and "planted" in data:
            pass

    result, output = _fuzzed(act)
    assert result.count(End.HANG) > 0
    assert [kind.end for kind in result.defects] == [End.HANG]
    assert result.count(End.REFUSED) > 0
    assert "planted 1 " in output


def test_batches_add_up_and_new_kinds_come_last() -> None:
    first, second = Kind(End.REFUSED, "a"), Kind(End.TRACEBACK, "b")
    whole, other = Batch(), Batch()
    whole.add(first, 3)
    other.add(second, 5, "text")
    other.add(first, 7)
    whole.merge(other)
    assert list(whole.first.items()) == [(first, 3), (second, 5)]
    assert (whole.kinds[first], whole.texts) == (2, {second: "text"})


def test_a_hang_that_no_signal_ends_is_killed() -> None:
    def act(data: str) -> None:
        if data == "2026":
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGVTALRM, signal.SIGALRM])
            time.sleep(60)

    target = Target("planted", lambda rng: "2026", _planted(act).act, 1)
    (result,) = fuzz([target], Bounds(seed=1, inputs=1, limit_s=0.2, checks=0), lambda text: None)
    assert result.defects == [Kind(End.HANG, "beyond signals")]


def test_an_input_that_kills_the_process_costs_itself_only() -> None:
    def act(data: str) -> None:
        if "planted" in data:
            os.kill(os.getpid(), signal.SIGKILL)

    result, _ = _fuzzed(act)
    assert [kind.end for kind in result.defects] == [End.DIED]
    assert result.inputs == FAST.inputs
    assert result.count(End.REFUSED) > result.count(End.DIED) > 0


def test_a_refusal_is_no_defect_and_its_line_is_its_kind() -> None:
    result, output = _fuzzed(lambda data: None)
    assert output == ""
    assert is_clean([result])
    kinds = {kind.what for kind in result.batch.kinds if kind.end is End.REFUSED}
    assert {"target-time-unreadable", "target-time-no-offset"} == kinds
    assert all(kind.where.startswith("recovery/model/target.py:") for kind in result.batch.kinds if kind.what)


def test_the_command_line_is_looked_at_as_well(tmp_path: Path) -> None:
    def command(data: tuple[str, ...], directory: Path) -> Invocation:
        return Invocation(data)

    target = Target("planted", lambda rng: (), lambda data, directory: None, 1, command)
    fine = checked(target, ("plan", "x", "--at", "yesterday", "--database", "d"))
    assert fine is not None
    assert (fine.shown, fine.complaint) == ("rowback plan x --at yesterday --database d", "")
    assert checked(target, ("plan", "\ud800")) is None
    assert checked(target, ("plan", "a\0b")) is None


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: str(target.name))
def test_inputs_come_again(target: Target) -> None:
    assert [input_of(target, 1, index) for index in range(5)] == [input_of(target, 1, index) for index in range(5)]
    assert input_of(target, 1, 0) is not None


def _seeds() -> dict[str, tuple[str, Any]]:
    """Target and input: what the product accepts before it is altered."""
    seeds: dict[str, tuple[str, Any]] = {
        f"case-{at}": ("journals", {"records": each, "whole": True}) for at, each in enumerate(journals.cases()[:3])
    }
    seeds |= {f"plan-{at}": ("plans", {"fields": each, "sign": True}) for at, each in enumerate(plans.documents())}
    seeds |= {
        "run": ("run-journals", list(journals.RUN)),
        "book": ("books", books.SMALL.encode()),
        "toml": ("toml", configuration.TOML),
        "policy": ("toml", configuration.TOML + b"\n"),
        "log": ("log-stderr", logs.Log("log", logs.STDERR[0])),
        "csv": ("log-csv", logs.Log("log.csv", logs.CSV.encode())),
        "journal": ("journal-bytes", journals.state_home_files()[journals.JOURNAL]),
        "rds": ("rds-answers", Answer("DescribeDBInstances", 200, good("DescribeDBInstances"))),
    }
    return seeds


@pytest.mark.parametrize("name", _seeds())
def test_what_is_altered_is_accepted_as_it_stands(name: str) -> None:
    """A seed that the product refuses altogether would fuzz nothing but the first check."""
    wanted, data = _seeds()[name]
    target = next(target for target in TARGETS if target.name == wanted)
    with scratch_directory() as directory:
        assert outcome_of(target, data, directory, 5.0).kind == Kind(End.ACCEPTED)


def test_a_refusal_without_a_documented_exit_code_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(data: str) -> None:
        raise RowbackError(ErrorId.USAGE, "x", state=NOTHING_CREATED, help="y")

    monkeypatch.setattr("tests.fuzz.outcomes.KNOWN_EXITS", frozenset({0}))
    result, _ = _fuzzed(act)
    assert result.defects == [Kind(End.TRACEBACK, "undocumented refusal")]


@pytest.mark.soak
def test_twenty_thousand_inputs_leave_no_traceback_and_no_hang() -> None:
    output: list[str] = []
    results = fuzz(TARGETS, Bounds(seed=20261129, inputs=20_000, checks=1, reduce=False), output.append)
    assert is_clean(results), "\n".join([*output, table(results)])
