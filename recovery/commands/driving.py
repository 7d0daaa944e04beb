"""Drive a case to its end and print its report: shared by restore and resume."""

from __future__ import annotations

import click

from recovery.aws.instances import Instances
from recovery.report.listening import listener
from recovery.report.text import report_text
from recovery.workflow.cases import Case
from recovery.workflow.errand import Errand
from recovery.workflow.journal import Journal
from recovery.workflow.reporting import report_of
from recovery.workflow.run import paused_lines, run


def drive(case: Case, journal: Journal, instances: Instances, *, as_json: bool) -> None:
    """Run what is left of `case`. An interruption says where it stands and how to go on, and exits 130."""
    errand = Errand(case, journal, instances, listener())
    with journal:
        try:
            run(errand)
        except KeyboardInterrupt:
            lines = "\n".join(f"  {line}" for line in paused_lines(case))
            click.echo(
                f"interrupted\n{lines}\n  help: rowback resume {case.id} (continue), or rowback close {case.id}"
                " (give up, remove the copy)",
                err=True,
            )
            raise SystemExit(130) from None
    show_report(case, as_json=as_json)


def show_report(case: Case, *, as_json: bool) -> None:
    """The report on stdout."""
    report = report_of(case)
    click.echo(report.model_dump_json(indent=1) if as_json else "\n" + report_text(report))
