"""`rowback lab`."""

from __future__ import annotations

import json
from typing import Any

import click

from guards.plain_text import shell_word


@click.group(epilog='Example: eval "$(rowback lab up)"')
def lab() -> None:
    """Amazon RDS on this machine: real PostgreSQL behind the RDS API."""


@lab.command(epilog='Example: eval "$(rowback lab up)"')
@click.option("--articles", default=500, show_default=True, help="Size of the sample in database docs.")
@click.option("--seed", default=7, show_default=True, help="The same seed gives the same rows.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def up(articles: int, seed: int, as_json: bool) -> None:
    """Start a lab in the background with instance docs-staging; prints the exports that make this shell use it."""
    import moto  # noqa: F401 (the lab is a process of its own: what it lacks is said here)

    from runbooks.lab import background

    state = lab_errors(lambda: background.up(background.default_root(), articles=articles, seed=seed))
    if as_json:
        click.echo(json.dumps(state, indent=1))
        return
    _echo_exports(state)


@lab.command("status", epilog='Example: eval "$(rowback lab status)"')
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def lab_status(as_json: bool) -> None:
    """Whether a lab is up, with the exports for another shell. Exit code 0 when it is, 3 when not."""
    from runbooks.lab import background

    state = background.status(background.default_root())
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
def lab_break(fault: str, xid: bool) -> None:
    """Play an incident in docs and let its users write on. Prints a time just before it. Only ever on the lab."""
    from runbooks.lab import background

    played = lab_errors(lambda: background.play(background.default_root(), fault))
    click.echo(f"{played.target:%Y-%m-%dT%H:%M:%SZ}" + (f" {played.xid}" if xid else ""))
    click.echo(f"ran on the lab's docs-staging, database docs: {'; '.join(played.statements)}", err=True)


@lab.command(epilog='Example: (eval "$(rowback lab colleague)"; rowback runbook approve 7f3a go --by ann)')
def colleague() -> None:
    """Print the exports of a second person: another IAM user of the lab's account, who may approve what you began."""
    from runbooks.lab import background

    state = background.status(background.default_root())
    if state is None:
        raise _no_lab()
    _echo_variables(state["colleague"])


@lab.command(epilog="Example: rowback lab down")
def down() -> None:
    """End the lab: every process and every file of it."""
    from runbooks.lab import background

    was_up = lab_errors(lambda: background.down(background.default_root()))
    click.echo("the lab is down" if was_up else "no lab was up", err=True)


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
