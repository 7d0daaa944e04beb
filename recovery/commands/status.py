"""`rowback status`: where one case stands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from guards.plain_text import joined
from recovery.commands.options import case_argument, json_option
from recovery.errors import ErrorId, RowbackError

if TYPE_CHECKING:
    from recovery.store.case_directory import Case


@click.command(epilog="Example: rowback status 7f3a --serve")
@case_argument
@click.option("--serve", "serve_", is_flag=True, help="Serve a page that keeps itself up to date, until Ctrl-C.")
@click.option("--address", default="127.0.0.1", show_default=True, help="Where to serve it.")
@click.option("--port", default=0, help="On which port (default: any free one).")
@json_option
def status(case_id: str, serve_: bool, address: str, port: int, as_json: bool) -> None:
    """Where one case stands: what is done, what is next. Looking never disturbs a running case.

    The served page is for people who do not run databases, in English and Korean; its address is the only key to it.
    Without a server the same page is status.html in the case's directory.
    """
    if serve_:
        _serve(case_id, address, port)
        return
    from recovery.store.case_directory import read_case
    from recovery.store.journal import reading

    case = read_case(case_id)
    with reading(case.directory):
        _show_status(case, as_json=as_json)


def _show_status(case: Case, *, as_json: bool) -> None:
    from recovery.store.journal import is_driven
    from recovery.workflow.case_account import account_of, next_commands, not_back_lines, not_deleted_lines
    from recovery.workflow.case_lifecycle import paused_lines, steps_done

    driven = is_driven(case.directory)
    finished_steps = steps_done(case)
    if as_json:
        shown = {
            "case": case.id,
            "outcome": case.outcome,
            "taken_back": case.taken_back,
            "driven": driven,
            "steps": finished_steps,
            "account": [table.model_dump(mode="json") for table in account_of(case).tables],
        }
        click.echo(json.dumps(shown, indent=1))
        return
    account = account_of(case)
    back, now = ", taken back" * case.taken_back, ", being driven now" * driven
    part = case.outcome == "open" and case.outcome_of("verify") is not None and not account.complete
    click.echo(f"case {case.id}: {case.outcome}{', recovered in part' * part}{back}{now}")
    for name, finished in finished_steps.items():
        step = case.steps.get(name)
        took = f"{step.seconds:.1f} s" if step and finished else (step.failed or "begun") if step else ""
        click.echo(f"  {'✓' if finished else '·'} {name:12} {took}".rstrip())
    for line in (
        *not_back_lines(account),
        *not_deleted_lines(account),
        *(case.repair_plan.notices if case.repair_plan else ()),
    ):
        click.echo(f"  {line}")
    if not case.closed_at and not driven:
        click.echo(joined(paused_lines(case)))
        if case.outcome_of("verify") is not None and not account.complete:
            click.echo(joined(f"next: {command}" for command in next_commands(case, account)))
        else:
            click.echo(f"next: rowback resume {case.id}, or rowback close {case.id}")


def _serve(case_id: str, address: str, port: int) -> None:
    import threading

    from recovery.report.status_server import serve
    from recovery.store.case_directory import all_cases, read_case
    from recovery.workflow.case_lifecycle import terminate_like_interrupt
    from recovery.workflow.case_status import current_status

    case, past = read_case(case_id), all_cases()
    try:
        server, where = serve(lambda: current_status(case, past), address=address, port=port)
    except OSError as error:
        raise RowbackError(
            ErrorId.USAGE,
            f"nothing can be served on {address}:{port}: {error.strerror}",
            state="nothing was done",
            help="choose another --address or --port",
        ) from error
    click.echo(where)
    click.echo("until Ctrl-C; whoever knows this address can see it", err=True)
    try:
        with terminate_like_interrupt():
            threading.Event().wait()
    except KeyboardInterrupt:
        server.shutdown()
        raise SystemExit(0) from None
