"""Acceptance runs that are killed or interrupted: what they made is found again and removed, by its journal."""

from __future__ import annotations

import signal
from collections.abc import Callable

from tests.fix_acceptance import CONFIRMED, NOTHING, left_over
from tests.fix_cli import Cli
from tests.fix_lab import discard, wait_until


def killed(cli: Cli, moment: Callable[[], object]) -> None:
    run = cli.start("acceptance", *CONFIRMED)
    wait_until(moment, "the moment of the kill", 60)
    run.kill()
    run.communicate(timeout=30)


def test_what_a_killed_run_left_is_reaped(first: Cli) -> None:
    engine = first.live.lab.engine
    engine.faults.creating_delay_s = 3.0
    try:
        killed(first, lambda: any(name.endswith("-default") for name in engine.instances))
    finally:
        engine.faults.creating_delay_s = 0.0
    names = [name for name in engine.instances if name.startswith("rowback-")]
    assert len(names) >= 3
    second = first("acceptance", *CONFIRMED)
    assert (second.code, second.err) == (
        23,
        "error[case-open]: run acceptance is there already\n  it was cut off, and its instances may run\n"
        f"  {NOTHING}\n  help: when it is not running: rowback reap\n",
    )
    dry = first("reap", "--dry-run")
    assert sorted(dry.out.splitlines()) == sorted(f"{name}: would be removed" for name in names)
    reaped = first("reap").out.splitlines()
    assert sorted(reaped) == sorted(f"{name}: removed" for name in names)
    assert reaped[-1] == "rowback-acceptance: removed"  # what the others were restored from goes last
    assert left_over(first) == []
    ran = first("acceptance", *CONFIRMED, "--json")
    assert ran.code == 0, ran.err
    assert left_over(first) == []


def test_what_was_deleted_by_hand_after_a_kill_is_forgotten(first: Cli) -> None:
    engine = first.live.lab.engine
    killed(first, lambda: "rowback-acceptance" in engine.instances)
    wait_until(lambda: engine.instances["rowback-acceptance"].status == "available", "its original")
    discard(first.live.lab, lambda name: name == "rowback-acceptance")
    wait_until(lambda: "rowback-acceptance" not in engine.instances, "its end")
    assert first("reap").out in {
        "rowback-acceptance: was gone already\n",
        # killed before the answer of the call was written down
        "rowback-acceptance: kept: it is not to be seen, and was asked for a moment ago: run this again in a quarter of"
        " an hour\n",
    }


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
