"""`rowback guard run -- CMD`: a command whose Python children are all guarded."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from guards.refusal import GuardError


@click.command(
    epilog="Example: rowback guard run -- alembic downgrade base", context_settings={"ignore_unknown_options": True}
)
@click.option("--strictness", type=click.Choice(["dev", "ci"]), help="Default: rowback.toml, else ci where CI is set.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(strictness: str | None, command: tuple[str, ...]) -> None:
    """Run CMD with every Python process in it guarded; exit code 21 if anything was refused, else CMD's own.

    Reached are children that read their environment; not those in isolated mode (python -I) or other languages.
    """
    from guards.children import environment, reported
    from guards.policy import policy_here

    policy = policy_here("ci" if strictness == "ci" else "dev" if strictness else None)
    for allowance in policy.allowances:
        click.echo(f"rowback guard: {allowance}", err=True)
    with tempfile.TemporaryDirectory(prefix="rowback-guard-") as directory:
        report = Path(directory) / "refused"
        code = _finished(command, dict(environment(policy.strictness, report)))
        refused = list(dict.fromkeys(reported(report)))
    if refused:
        click.echo("\n".join([f"rowback guard: {len(refused)} refused", *refused]), err=True)
    sys.exit(21 if refused else code)


def _finished(command: tuple[str, ...], environment: dict[str, str]) -> int:
    """The exit code of `command`, as a shell would tell it. Ctrl-C reaches both of us: it ends, then we do."""
    with _unmoved_by_ctrl_c():
        try:
            child = subprocess.Popen(command, env=environment)
        except OSError as error:
            raise GuardError(
                "usage", f"'{command[0]}' cannot be run: {error.strerror}", state="nothing was run",
                help="rowback guard run -- COMMAND [ARGUMENT …]",
            ) from error  # fmt: skip
        code = child.wait()
    return code if code >= 0 else 128 - code


@contextmanager
def _unmoved_by_ctrl_c() -> Iterator[None]:
    """A KeyboardInterrupt amid Popen.wait can lose the child's code, and it counts as 0 then. A handler of ours ends
    with exec, so the child has its own; an ignored SIGINT stays ignored for both."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
