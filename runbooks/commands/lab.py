"""`rowback lab`."""

from __future__ import annotations

import json
import re
from typing import Any

import click

from guards.plain_text import shell_word


class LabName(click.ParamType[str]):
    """A name that can be part of a directory's."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name as it is."""
        if not re.fullmatch(r"[a-z0-9-]{1,30}", str(value)):
            self.fail(f"'{value}' is no name of a lab: small letters, digits and - only, at most 30", param, ctx)
        return str(value)


class FaultName(click.ParamType[str]):
    """A fault of the catalogue."""

    name = "fault"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name as it is."""
        from recovery.model.nearest import nearest, nearest_line
        from runbooks.lab.fault_catalogue import FAULTS

        if value not in FAULTS:
            self.fail(
                f"no fault '{value}'; {nearest_line(nearest(str(value), list(FAULTS)), ', '.join(FAULTS))}", param, ctx
            )
        return str(value)


name_option = click.option("--name", type=LabName(), metavar="NAME", help="Which lab, where there are several.")


@click.group(epilog='Example: eval "$(rowback lab up)"')
def lab() -> None:
    """Amazon RDS on this machine: real PostgreSQL behind the RDS API."""


@lab.command(epilog='Example: eval "$(rowback lab up)"')
@click.option("--articles", default=500, show_default=True, help="Size of the sample in database docs.")
@click.option("--seed", default=7, show_default=True, help="The same seed gives the same rows.")
@name_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def up(articles: int, seed: int, name: str | None, as_json: bool) -> None:
    """Start a lab in the background with instance docs-staging; prints the exports that make this shell use it."""
    import moto  # noqa: F401 (the lab is a process of its own: what it lacks is said here)

    from runbooks.lab import background

    state = lab_errors(lambda: background.up(background.root_of(name), articles=articles, seed=seed))
    if as_json:
        click.echo(json.dumps(state, indent=1))
        return
    _echo_exports(state)


@lab.command("status", epilog='Example: eval "$(rowback lab status)"')
@name_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def lab_status(name: str | None, as_json: bool) -> None:
    """Whether a lab is up, with the exports for another shell. Exit code 0 when it is, 3 when not."""
    from runbooks.lab import background

    state = background.status(background.root_of(name))
    if as_json:
        click.echo(json.dumps(state, indent=1))
    elif state is None:
        click.echo("no lab is up; start one with: rowback lab up", err=True)
    else:
        _echo_exports(state)
    raise SystemExit(0 if state else 3)


@lab.command("break", epilog="Example: T=$(rowback lab break)")
@click.option(
    "--fault",
    type=click.Choice(["truncate", "bad-delete", "bad-update"]),
    default="truncate",
    show_default=True,
    help="What happens.",
)
@click.option("--xid", is_flag=True, help="Print the incident's transaction id behind the time.")
@name_option
def lab_break(fault: str, xid: bool, name: str | None) -> None:
    """Play an incident in docs and let its users write on. Prints a time just before it. Only ever on the lab."""
    from runbooks.lab import background

    played = lab_errors(lambda: background.play(background.root_of(name), fault))
    click.echo(f"{played.target:%Y-%m-%dT%H:%M:%SZ}" + (f" {played.xid}" if xid else ""))
    click.echo(f"ran on the lab's docs-staging, database docs: {'; '.join(played.statements)}", err=True)


@lab.command(epilog='Example: (eval "$(rowback lab colleague)"; rowback runbook approve 7f3a go --by ann)')
@name_option
def colleague(name: str | None) -> None:
    """Print the exports of a second person: another IAM user of the lab's account, who may approve what you began."""
    from runbooks.lab import background

    state = background.status(background.root_of(name))
    if state is None:
        raise _no_lab()
    _echo_variables(state["colleague"])


@lab.command(epilog="Example: rowback lab down")
@name_option
def down(name: str | None) -> None:
    """End the lab: every process and every file of it."""
    from runbooks.lab import background

    was_up = lab_errors(lambda: background.down(background.root_of(name)))
    click.echo("the lab is down" if was_up else "no lab was up", err=True)


@lab.group("fault", epilog="Example: rowback lab fault add no-capacity")
def lab_fault() -> None:
    """Trouble that RDS makes now and then, switched on and off. What it always does, the lab always does."""


@lab_fault.command("list", epilog="Example: rowback lab fault list")
@name_option
def fault_list(name: str | None) -> None:
    """Every fault there is, with + where it is switched on."""
    from runbooks.lab.fault_catalogue import FAULTS

    ordered = set(_control(name, "fault-list", {})["ordered"])
    for each, fault in FAULTS.items():
        click.echo(f"{'+' if each in ordered else ' '} {each:24} {fault.summary}")


@lab_fault.command("add", epilog="Example: rowback lab fault add no-capacity")
@click.argument("fault", type=FaultName())
@name_option
def fault_add(fault: str, name: str | None) -> None:
    """Switch a fault on."""
    _control(name, "fault-add", {"name": fault})


@lab_fault.command("remove", epilog="Example: rowback lab fault remove no-capacity")
@click.argument("fault", type=FaultName())
@name_option
def fault_remove(fault: str, name: str | None) -> None:
    """Switch it off again."""
    _control(name, "fault-remove", {"name": fault})


def _control(name: str | None, verb: str, body: dict[str, Any]) -> dict[str, Any]:
    from runbooks.lab import background

    state = background.status(background.root_of(name))
    if state is None:
        raise _no_lab()
    answer: dict[str, Any] = lab_errors(lambda: background.control(state, verb, body))
    return answer


def _no_lab() -> Exception:
    from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError

    return RowbackError(
        ErrorId.LAB_UNAVAILABLE, "no lab is up", state=NOTHING_CREATED, help='start one: eval "$(rowback lab up)"'
    )


def _echo_exports(state: dict[str, Any]) -> None:
    # Whatever else in this shell would lead boto3 or libpq past the lab.
    click.echo("unset AWS_PROFILE AWS_SESSION_TOKEN AWS_ENDPOINT_URL_RDS AWS_REGION PGSERVICE PGHOSTADDR PGSSLMODE")
    _echo_variables(state["exports"])
    click.echo(_lab_line(state), err=True)


def _echo_variables(variables: dict[str, str]) -> None:
    """For `eval`: names and values are quoted alike, so that neither is ever a command."""
    for name, value in variables.items():
        click.echo(f"export {shell_word(name)}={shell_word(value)}")


def _lab_line(state: dict[str, Any]) -> str:
    names = "; ".join(
        f"{name} ({', '.join(i['databases'])}) on 127.0.0.1:{i['port']}" for name, i in state["instances"].items()
    )
    return f"lab up: PostgreSQL {state['postgres']}, {names}, pid {state['pid']}, files in {state['root']}"


def lab_errors(act: Any) -> Any:
    """Run `act`; a lab that cannot be had is the user's environment, not a bug. Raises lab-unavailable."""
    from guards.isolation.server_programs import PostgresError
    from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError

    try:
        return act()
    except PostgresError as error:
        raise RowbackError(
            ErrorId.LAB_UNAVAILABLE, str(error), state=NOTHING_CREATED, help="rowback lab status"
        ) from error
