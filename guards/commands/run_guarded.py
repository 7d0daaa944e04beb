"""`rowback guard run -- CMD`: a command whose Python children are all guarded."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from guards.refusal import GuardError

if TYPE_CHECKING:
    from guards.unguarded_children import Unguarded


@click.command(
    epilog="Example: rowback guard run -- alembic downgrade base", context_settings={"ignore_unknown_options": True}
)
@click.option("--strictness", type=click.Choice(["dev", "ci"]), help="Default: rowback.toml, else ci where CI is set.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(strictness: str | None, command: tuple[str, ...]) -> None:
    """Run CMD with every Python process in it guarded.

    Exit code 21 if anything was refused, or if a process that could not be guarded reached for PostgreSQL; else CMD's
    own.

    Reached are Python children that read their environment; not those in isolated mode (python -I) or other programs:
    these are named (on Linux).
    """
    from guards.children import environment, reported
    from guards.policy import policy_here

    policy = policy_here("ci" if strictness == "ci" else "dev" if strictness else None)
    for allowance in policy.allowances:
        click.echo(f"rowback guard: {allowance}", err=True)
    with tempfile.TemporaryDirectory(prefix="rowback-guard-") as directory:
        report = Path(directory) / "refused"
        code, unguarded = _finished(command, dict(environment(policy.strictness, report)))
        refused = list(dict.fromkeys(reported(report)))
    if refused:
        click.echo("\n".join([f"rowback guard: {len(refused)} refused", *refused]), err=True)
    _tell_programs(unguarded)
    python = [each for each in unguarded if each.is_python]
    if python:
        click.echo("\n".join(_of_python(python)), err=True)
    sys.exit(21 if refused or python else code)


def _tell_programs(unguarded: Sequence[Unguarded]) -> None:
    for name in dict.fromkeys(each.name for each in unguarded if not each.is_python):
        click.echo(f"rowback guard: {name} reached for PostgreSQL; what it sends is not looked at", err=True)


def _of_python(unguarded: Sequence[Unguarded]) -> list[str]:
    many = "a Python process" if len(unguarded) == 1 else f"{len(unguarded)} Python processes"
    return [
        f"refused[not-disposable]: {many} reached for PostgreSQL and could not be guarded",
        *(f"  process {each.pid}: {each.name}" for each in unguarded),
        "  what was sent there was not looked at",
        "  help: start it so that it reads its environment (no -I, -E or -S; in tox: pass_env = PYTHONPATH,"
        " ROWBACK_GUARD*, and rowback among its deps), or run it without rowback guard run",
    ]


def _finished(command: tuple[str, ...], environment: dict[str, str]) -> tuple[int, list[Unguarded]]:
    """The exit code of `command`, as a shell would tell it, and its processes that could not be guarded.

    Ctrl-C reaches both of us: it ends, then we do.
    """
    from guards.unguarded_children import ChildrenWatch

    with _unmoved_by_ctrl_c():
        try:
            child = subprocess.Popen(command, env=environment)
        except OSError as error:
            raise GuardError(
                "usage",
                f"'{command[0]}' cannot be run: {error.strerror}",
                state="nothing was run",
                help="rowback guard run -- COMMAND [ARGUMENT …]",
            ) from error
        watch = ChildrenWatch(child.pid)
        watch.begin()
        code = child.wait()
        unguarded = watch.end()
    return (code if code >= 0 else 128 - code), unguarded


@contextmanager
def _unmoved_by_ctrl_c() -> Iterator[None]:
    """A KeyboardInterrupt amid Popen.wait can lose the child's exit code, which then counts as 0.

    Python handlers are reset by exec, so the child has the default one; an ignored SIGINT stays ignored for both.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
