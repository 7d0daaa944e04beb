"""Drive a case and print its report: shared by the verbs that continue one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from recovery.report.text import report_text
from recovery.workflow.cases import Case
from recovery.workflow.errand import Errand
from recovery.workflow.reporting import report_of
from recovery.workflow.run import paused_lines, run, written_state


def drive(errand: Errand, *, as_json: bool) -> None:
    """Run what is left of the case and print its report."""
    with errand.journal, interruptible(errand.case):
        run(errand)
    show_report(errand.case, as_json=as_json)


@contextmanager
def interruptible(case: Case) -> Iterator[None]:
    """An interruption says where the case stands and how to go on, and exits 130."""
    try:
        yield
    except KeyboardInterrupt:
        state = [written] if (written := written_state(case)) else []
        lines = "\n".join(f"  {line}" for line in (*paused_lines(case), *state))
        click.echo(
            f"interrupted\n{lines}\n  help: rowback resume {case.id} (continue), or rowback close {case.id}"
            " (give up, remove the copy)",
            err=True,
        )
        raise SystemExit(130) from None


def show_report(case: Case, *, as_json: bool) -> None:
    """The report on stdout."""
    report = report_of(case)
    click.echo(report.model_dump_json(indent=1) if as_json else "\n" + report_text(report))
