"""Acceptance runs that are killed or interrupted: what they made is found again and removed, by its journal."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable

import pytest

from runbooks.lab.engine import Engine
from runbooks.lab.lab_state import CallFault
from tests.fix_acceptance import CONFIRMED, NOTHING, left_over
from tests.fix_cli import Cli
from tests.fix_lab import discard, wait_until


def killed(cli: Cli, moment: Callable[[], object]) -> None:
    run = cli.start("acceptance", *CONFIRMED)
    wait_until(moment, "the moment of the kill", 60)
    run.kill()
    run.communicate(timeout=30)


def test_what_a_killed_run_left_is_reaped(first: Cli) -> None:
    """Killed while it waits for the end of the copy that it deletes at once: no call that makes one is under way."""
    engine = first.live.lab.engine
    engine.faults.creating_delay_s = 3.0
    try:
        killed(first, lambda: deleted_at_once(engine))
    finally:
        engine.faults.creating_delay_s = 0.0
    (unborn,) = deleted_at_once(engine)
    wait_until(lambda: unborn not in engine.instances, "its end")
    names = [name for name in engine.instances if name.startswith("rowback-")]
    assert len(names) == 3
    second = first("acceptance", *CONFIRMED)
    assert (second.code, second.err) == (
        23,
        "error[case-open]: run acceptance is there already\n  it was cut off, and its instances may run\n"
        f"  {NOTHING}\n  help: when it is not running: rowback reap\n",
    )
    group = "parameter group rowback-acceptance"
    dry = first("reap", "--dry-run")
    assert sorted(dry.out.splitlines()) == sorted(
        [*(f"{name}: would be removed" for name in names), f"{unborn}: was gone already", f"{group}: would be removed"]
    )
    reaped = first("reap").out.splitlines()
    assert sorted(reaped) == sorted(
        [*(f"{name}: removed" for name in names), f"{unborn}: was gone already", f"{group}: removed"]
    )
    # What the others were restored from goes last, and then what it was made with.
    assert reaped[-2:] == ["rowback-acceptance: removed", f"{group}: removed"]
    assert left_over(first) == []
    ran = first("acceptance", *CONFIRMED, "--json")
    assert ran.code == 0, ran.err
    assert left_over(first) == []


def deleted_at_once(engine: Engine) -> list[str]:
    return [name for name, each in engine.instances.items() if name.endswith("-unborn") and each.status == "deleting"]


def test_what_was_deleted_by_hand_after_a_kill_is_forgotten(first: Cli) -> None:
    engine = first.live.lab.engine
    killed(first, lambda: answered(first))
    wait_until(lambda: engine.instances["rowback-acceptance"].status == "available", "its original")
    discard(first.live.lab, lambda name: name == "rowback-acceptance")
    wait_until(lambda: "rowback-acceptance" not in engine.instances, "its end")
    assert (
        first("reap", "--json").out
        == json.dumps(
            [
                {"instance": "rowback-acceptance", "result": "was gone already"},
                {"parameter_group": "rowback-acceptance", "result": "removed"},
            ],
            indent=1,
        )
        + "\n"
    )
    assert left_over(first) == []


def answered(first: Cli) -> bool:
    journal = first.home / "rehearsals" / "acceptance" / "journal.jsonl"
    return journal.is_file() and "instance.created" in journal.read_text()


def test_a_group_alone_is_left_and_reaped(first: Cli) -> None:
    engine = first.live.lab.engine
    engine.faults.calls.append(CallFault("DeleteDBParameterGroup", "InternalFailure", http_status=500, times=5))
    engine.faults.calls.append(CallFault("CreateDBInstance", "InsufficientDBInstanceCapacity"))
    ran = first("acceptance", *CONFIRMED)
    engine.faults.calls.clear()
    assert ran.code == 36, ran.err
    assert left_over(first) == ["rowback-acceptance", str(first.home / "rehearsals" / "acceptance")]
    assert first("reap", "--dry-run").out == "parameter group rowback-acceptance: would be removed\n"
    assert first("reap").out == "parameter group rowback-acceptance: removed\n"
    assert left_over(first) == []


@pytest.mark.parametrize("attempts", [1, 5], ids=["an error", "an error, and then that it is there already"])
@pytest.mark.parametrize("call", ["CreateDBInstance", "RestoreDBInstanceToPointInTime"])
def test_what_was_made_without_an_answer_is_removed(first: Cli, call: str, attempts: int) -> None:
    """RDS carries the call out and answers 500; asked again it says that there is one."""
    engine = first.live.lab.engine
    engine.faults.calls.append(CallFault(call, "InternalFailure", http_status=500, times=1, moment="after"))
    ran = first("acceptance", *CONFIRMED, AWS_MAX_ATTEMPTS=str(attempts))
    assert engine.faults.calls[-1].times == 0
    engine.faults.calls.clear()
    if call == "CreateDBInstance" and attempts == 1:
        assert ran.code == 36, ran.err
        assert ran.err.endswith(
            "error[aws-refused]: rds:CreateDBInstance 'rowback-acceptance': InternalFailure: injected by the lab\n"
            "  an instance may have been created\n  help: AWS's own words are above\n"
        )
    else:
        assert ran.code == 0, ran.err
    assert left_over(first) == []


def test_a_run_that_was_killed_before_it_asked_for_anything_is_in_nobody_s_way(first: Cli) -> None:
    directory = first.home / "rehearsals" / "acceptance"
    directory.mkdir(parents=True)
    ran = first("acceptance", "--profile", "first")
    assert ran.code == 21, ran.err
    ran = first("acceptance", *CONFIRMED, "--json")
    assert ran.code == 0, ran.err
    assert left_over(first) == []


def test_a_protected_instance_of_a_killed_run_is_kept(first: Cli) -> None:
    engine = first.live.lab.engine
    killed(first, lambda: "rowback-acceptance" in engine.instances)
    wait_until(lambda: engine.instances["rowback-acceptance"].status == "available", "its original")
    engine.instances["rowback-acceptance"].attributes["DeletionProtection"] = True
    kept = first("reap").out
    assert "rowback-acceptance: kept: it is protected from deletion, by a person or a rule; to take that back:" in kept
    engine.instances["rowback-acceptance"].attributes["DeletionProtection"] = False
    assert "rowback-acceptance: removed" in first("reap").out
    assert left_over(first) == []


def test_an_interrupted_run_removes_what_it_made(first: Cli) -> None:
    engine = first.live.lab.engine
    run = first.start("acceptance", *CONFIRMED)
    wait_until(lambda: any(name.endswith("-default") for name in engine.instances), "its copies", 60)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130, said
    assert left_over(first) == []
