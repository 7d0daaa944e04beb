"""Journals of cases and of runs with valid chains and odd content, and everything that only looks at them."""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from recovery.report.incident_page import incident_html, incident_markdown
from recovery.report.repair_text import repair_text
from recovery.report.report_text import cases_text, report_text
from recovery.report.status_page import status_page
from recovery.store.case_directory import Case, all_cases, read_case, unreadable_cases
from recovery.store.journal import FILE, RESERVE, Journal, read_records, reading
from recovery.workflow.case_account import account_of, next_commands, not_back_lines
from recovery.workflow.case_incident_report import story_of
from recovery.workflow.case_lifecycle import paused_lines, steps_done
from recovery.workflow.case_report import listed_cases, report_of
from recovery.workflow.case_status import current_status
from runbooks.book.book_template import TEMPLATE
from runbooks.execution.run_store import BOOK, all_runs, read_run, unreadable_runs
from tests.fuzz.batches import scratch_directory
from tests.fuzz.mutations import mutated_bytes
from tests.fuzz.structures import mutated_document
from tests.fuzz.target import SEEDS, Invocation, Target, printed
from tests.fuzz.targets.plans import APPROVAL, CASES

CASE = "20261129-220715-c4d2"
JOURNAL = f"cases/{CASE}/{FILE}"
WHOLE_ONE_IN = 8  # in so few inputs the slow parts run as well: pages, and the list of all cases
LOADED = {
    "xids": [1],
    "rows": {},
    "touched": {"content.articles": 3},
    "definitions": "x",
    "sequence_moves": [],
    "foreign_keys_checked": 1,
    "seconds_locked": 0.1,
    "partial": True,
}
# Records that the seeds do not have.
OTHERS: tuple[Any, ...] = (
    ["plan.seconded", None, APPROVAL],
    ["load.portion", None, LOADED],
    ["load.paced", None, {"wal_bytes_per_s": 1}],
    ["case.stopped", None, {"why": "interrupted in load"}],
    ["load.unknown", None, {"error": "x"}],
    ["step.failed", "load", {"error": "x", "id": "approval-missing"}],
    ["step.failed", "verify", {"error": "x"}],
    ["repair.asked", None, {"mode": "replace", "incident_xids": [1]}],
    ["undo.done", None, LOADED],
    ["step.reconciled", None, {"of": "load", "happened": True}],
    ["case.closed", None, {"outcome": "recovered"}],
    ["step.done", "verify", {}],
    ["step.start", "nothing", {}],
    ["load.refused-whole", None, {"table": "content.articles"}],
)
DIGEST = hashlib.sha256(TEMPLATE.encode()).hexdigest()
RUN: tuple[Any, ...] = (
    [
        "run.opened",
        None,
        {
            "schema_version": 1,
            "tool_version": "0.1.0",
            "book": "b",
            "digest": DIGEST,
            "source": "b.md",
            "mode": "auto",
            "values": {"instance": "docs-staging"},
            "opener": APPROVAL["person"],
            "profile": None,
            "answers": {},
            "confirmed": [],
        },
    ],
    ["step.start", "look", {}],
    ["step.child", "look", {"pid": 1}],
    ["step.done", "look", {"saved": {"x": "1"}}],
    ["step.start", "write", {}],
    ["step.failed", "write", {"error": "x", "cut_off": True}],
    ["step.skipped", "write", {"reason": "x"}],
    ["step.again", "write", {}],
    ["step.approved", "go", APPROVAL],
    ["run.rebased", None, {"text": TEMPLATE, "digest": DIGEST, "values": {"x": "2"}}],
    ["run.closed", None, {"outcome": "finished"}],
)
Records = list[Any]


@cache
def cases() -> tuple[Records, ...]:
    """Cases as they went: event, step and data of each record."""
    journals = [json.loads((SEEDS / f"case-{name}.json").read_text()) for name in CASES]
    return (*journals, [*journals[2], *OTHERS])


@cache
def _runs() -> tuple[Records, ...]:
    return (list(RUN),)


def _make(rng: Random) -> dict[str, Any]:
    """The beginning of a case, changed: journals break off anywhere."""
    records = rng.choice(cases())
    records = records[: rng.randint(1, len(records))] if rng.random() < 0.5 else records
    some = mutated_document(rng, (records,), OTHERS)
    return {"records": some, "whole": rng.randrange(WHOLE_ONE_IN) == 0}


def _make_run(rng: Random) -> Records:
    records = _runs()[0]
    some: Records = mutated_document(rng, (records[: rng.randint(1, len(records))],), RUN)
    return some


def written(records: Any, directory: Path) -> Path:
    """A journal by the product's own writer, in place of what is there; what it cannot write is left out."""
    shutil.rmtree(directory, ignore_errors=True)
    with Journal.create(directory) as journal:
        for record in records if isinstance(records, list) else []:
            match record:
                case [str(event), str() | None as step, dict() as data]:
                    with suppress(ValueError, ArithmeticError, RecursionError):  # lone surrogates, too deep
                        journal.append(event, step=step, data=data)
    return directory


def _act(data: dict[str, Any], directory: Path) -> None:
    place = written(data["records"], directory / "home" / "cases" / CASE)
    if data["whole"]:
        listed, unreadable = listed_cases()
        printed(cases_text(case for case, _ in listed))
        printed(json.dumps([report.model_dump(mode="json") for _, report in listed]))
        printed(str(unreadable))
    case = read_case(CASE)
    with reading(place):  # as every command that only looks does
        _look(case, place, whole=data["whole"])


def _look(case: Case, place: Path, *, whole: bool) -> None:
    steps_done(case)
    printed("\n".join(paused_lines(case)))
    account = account_of(case)
    printed("\n".join((*not_back_lines(account), *next_commands(case, account))))
    printed(report_text(report_of(case)))
    status = current_status(case, [case])
    if case.repair_plan:
        printed(repair_text(case.repair_plan))
    story = story_of(case, read_records(place))
    if whole:
        printed(status_page(status))
        printed(incident_html(story))
        printed(incident_markdown(story))


def _command(data: dict[str, Any], directory: Path) -> Invocation:
    written(data["records"], directory / "home" / "cases" / CASE)
    form = ("html", "md", "json")[len(json.dumps(data)) % 3]
    report = ("report", CASE, "--format", form)
    return Invocation(report, also=(("report", CASE), ("status", CASE), ("cases", "--json")))


def _make_bytes(rng: Random) -> bytes:
    return mutated_bytes(
        rng, (state_home_files()[JOURNAL],), ('{"seq":', '"prev":', "\n", "null", "NaN", '"mac":', "\\ud800")
    )


@cache
def state_home_files() -> dict[str, bytes]:
    """Every file of a state home with one case. Times, process and keys are of the process that is asked first: they
    are the only thing in which an input of another run differs."""
    with scratch_directory() as place:
        (written(cases()[2], place / "home" / "cases" / CASE) / RESERVE).unlink()
        paths = [path for path in (place / "home").rglob("*") if path.is_file()]
        return {str(path.relative_to(place / "home")): path.read_bytes() for path in paths}


def _written_bytes(data: bytes, directory: Path) -> None:
    for name, content in {**state_home_files(), JOURNAL: data}.items():
        path = directory / "home" / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        path.write_bytes(content)


def _prepare_bytes() -> None:
    state_home_files()  # once, before the processes that try inputs


def _act_bytes(data: bytes, directory: Path) -> None:
    _written_bytes(data, directory)
    printed(cases_text(all_cases()))
    printed(str(unreadable_cases()))
    read_case(CASE)


def _bytes_command(data: bytes, directory: Path) -> Invocation:
    _written_bytes(data, directory)
    return Invocation(("resume", CASE) if len(data) % 2 else ("cases",))


def _act_run(data: Records, directory: Path) -> None:
    place = written(data, directory / "home" / "runs" / CASE)
    (place / BOOK).write_text(TEMPLATE)
    for run, driven in all_runs():
        printed(f"{run.id} {run.outcome} {driven} {run.waiting_at}")
    printed(str(unreadable_runs()))
    run = read_run(CASE)
    printed(f"{run.mark('look')} {run.values}")


def _run_command(data: Records, directory: Path) -> Invocation:
    place = written(data, directory / "home" / "runs" / CASE)
    (place / BOOK).write_text(TEMPLATE)
    return Invocation(("runbook", "runs"), also=(("runbook", "runs", "--json"),))


TARGETS = (
    Target("journals", _make, _act, 8, _command),
    Target("journal-bytes", _make_bytes, _act_bytes, 10, _bytes_command, _prepare_bytes),
    Target("run-journals", _make_run, _act_run, 4, _run_command),
)
