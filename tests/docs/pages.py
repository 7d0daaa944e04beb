"""Write the executed parts of the documentation anew: python -m tests.docs.pages (or `make docs`)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click

from tests.docs.assumptions_page import ASSUMPTIONS_FILE, assumptions_page

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "docs" / "tour.md")
CONSOLE = re.compile(r"```console\n(.*?)```", re.DOTALL)
FILE = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
END = "@@end of command@@"
# What differs from run to run, and what it is compared as.
VOLATILE = (
    (re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}"), "CASE"),
    (re.compile(r"rowback_case_\d+_\d+_[0-9a-f]{4}"), "rowback_case_CASE"),
    (re.compile(r"plan [0-9a-f]{8}"), "plan DIGEST"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "TIME"),
    (re.compile(r"\d\d:\d\d:\d\dZ"), "TIME"),
    (re.compile(r"\d+ s from the backup"), "N s from the backup"),
    (re.compile(r"about [\d,.]+ \w+ of WAL"), "about SIZE of WAL"),
    (re.compile(r"price list, \d{4}-\d\d-\d\d"), "price list, DATE"),
    (re.compile(r"about \d+ s, \d+ s to \d+ s in"), "about N s, N s to N s in"),
    (re.compile(r"\d+\.\d+ s\b"), "SECONDS"),
    (re.compile(r"(PostgreSQL|pg_dump) \d+\.\d+"), r"\1 VERSION"),
    (re.compile(r"\d+ of \d+$", re.MULTILINE), "ALL of ALL"),
    (re.compile(r"pid \d+"), "pid PID"),
    (re.compile(r"transactions? \d+"), "transaction XID"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+\+00"), "MOMENT"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:PORT"),
    (re.compile(r"port=\d+"), "port=PORT"),
    (re.compile(r"system identifier \d+, database oid \d+"), "system identifier N, database oid N"),
    (re.compile(r"--target [\d./]+"), "--target N/N/N"),
    (re.compile(r"about [\d,]+ rows: .*"), "about N rows: TABLES"),
    (re.compile(r"in \d+\.\d+s"), "in SECONDS"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "TIME"),
    (re.compile(r"process \d+"), "process PID"),
    (re.compile(r"about [\d,]+ rows now"), "about N rows now"),
    (re.compile(r"--incident-xid \d+"), "--incident-xid XID"),
    (re.compile(r"read: .*"), "read: FILES"),
    (re.compile(r"files in \S+"), "files in DIRECTORY"),
    (re.compile(r"[\d.]+ MiB"), "SIZE"),
    (re.compile(r"(forward: |, )(\S+ to )\d+"), r"\1\2N"),
    (re.compile(r" +"), " "),
)


def normalise(text: str) -> str:
    """The text without what differs from run to run."""
    for pattern, replacement in VOLATILE:
        text = pattern.sub(replacement, text)
    return text.strip()


def console_blocks(page: Path) -> list[tuple[str, list[str]]]:
    """Each console block of a page with the commands in it."""
    blocks = CONSOLE.findall(page.read_text())
    return [(block, [line[2:] for line in block.splitlines() if line.startswith("$ ")]) for block in blocks]


def run_page(page: Path, directory: Path) -> list[str]:
    """Every command of a page in one shell, in order; the blocks as they would be printed today."""
    blocks = [commands for _, commands in console_blocks(page)]
    script = "".join(f"{_in_place(command)}\necho; echo '{END}'\n" for commands in blocks for command in commands)
    for name, text in FILE.findall(page.read_text()):
        (directory / name).write_text(text)
    foreign = ("PG", "AWS_", "ROWBACK_", "PYTEST", "CI")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environment |= {
        # the plugins that our own tests bring
        "PYTEST_ADDOPTS": "-p no:asyncio -p no:django -p no:pytest_postgresql -p no:cacheprovider",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ROWBACK_HOME": str(directory / "home"),
        "ROWBACK_LAB_ROOT": tempfile.mkdtemp(prefix="rowback-readme-"),
    }
    if binaries := os.environ.get("ROWBACK_PG_BIN"):
        environment["ROWBACK_PG_BIN"] = binaries
    done = subprocess.run(
        ["bash", "-c", f"exec 2>&1\ncd {directory}\n{script}"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    outputs = iter(done.stdout.split(f"{END}\n"))
    return ["".join(_shown(command, next(outputs)) for command in commands) for commands in blocks]


def _in_place(command: str) -> str:
    return f"make --no-print-directory -C {ROOT} {command[5:]}" if command.startswith("make ") else command


def _shown(command: str, output: str) -> str:
    kept = [line for line in output.rstrip().splitlines() if not line.startswith((".venv/bin/", "make: ***"))]
    return "\n".join([f"$ {command}", *kept]) + "\n"


def commands_page() -> str:
    """`--help` of every verb."""
    from recovery.cli import rowback

    lines = ["# Commands", "", "What `--help` says, for every verb.", ""]
    for path, command in _walk("rowback", rowback):
        context = click.Context(command, info_name=path, max_content_width=100, terminal_width=100)
        lines += [f"## {path}", "", "```", command.get_help(context), "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def _walk(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found
            yield from _walk(f"{path} {name}", found)


def json_page() -> str:
    """The schema of every `--json` document that is a model."""
    from recovery.model.coverage_report import Coverage
    from recovery.model.health_report import Health
    from recovery.model.incident_findings import FindReport
    from recovery.model.outlook import Outlook
    from recovery.model.recovery_plan import RecoveryPlan
    from recovery.model.recovery_report import Report
    from recovery.model.repair_plan import RepairPlan
    from runbooks.acceptance.findings import AcceptanceResult
    from runbooks.drills.run_drill import DrillReport

    lines = [
        "# JSON output",
        "",
        "`--json` prints exactly one document on stdout; all else goes to stderr. Ignore fields you do not know.",
        "",
        "- `rowback plan`: a plan, and beside it `outlook`",
        "- `rowback restore --dry-run`: a plan",
        "- `rowback restore`, `resume`, `report`: a report",
        "- `rowback cases`: a list of reports",
        "- `rowback drill`: a drill report",
        "- `rowback find`: a finding",
        "- `rowback diff`, without `--show`: a repair plan; with it: a list of rows",
        "- `rowback apply`: a report",
        "- `rowback verify`, `undo`: a verification",
        "- `rowback peek`: a list of objects, every value as text",
        "- `rowback doctor`: a health report",
        "- `rowback coverage`: a coverage report",
        "- `rowback acceptance`: an acceptance result",
        '- `rowback status`: `{"case", "outcome", "taken_back", "driven", "steps": {name: done}}`',
        '- `rowback reap`: `[{"instance", "result"}]`',
        '- `rowback cleanup`: `[{"schema", "case", "tables", "bytes", "age_days", "result"}]`',
        '- `rowback lab up`, `lab status`: `{"pid", "port", "root", "postgres", "instances", "exports"}` or `null`',
        "",
    ]
    for title, model in (
        ("Plan", RecoveryPlan),
        ("Repair plan", RepairPlan),
        ("Report", Report),
        ("Drill report", DrillReport),
        ("Outlook", Outlook),
        ("Finding", FindReport),
        ("Health report", Health),
        ("Coverage report", Coverage),
        ("Acceptance result", AcceptanceResult),
    ):
        schema = json.dumps(model.model_json_schema(mode="serialization"), indent=1, ensure_ascii=False)
        lines += [f"## {title}", "", "```json", schema, "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def modes_page() -> str:
    """What each reload mode does to each class of rows, as the modes declare it."""
    from recovery.model.modes import MODES
    from recovery.model.modes.reload_mode import ReloadMode
    from recovery.model.row_class import RowClass

    def what(mode: ReloadMode, kind: RowClass) -> str:
        if not mode.in_place:
            return "not touched"
        if kind in mode.by_policy:
            return "as `--on-conflict` says"
        if kind is RowClass.LOST or kind in mode.set_back:
            return "as at T"
        return mode.new_rows.value if kind is RowClass.NEW else "stays"

    kinds = (
        (RowClass.LOST, "was there at T, is not there now"),
        (RowClass.REVERTED, "changed by the named incident alone"),
        (RowClass.CONFLICT, "changed by the incident and by others"),
        (RowClass.NEWER, "changed by others alone"),
        (RowClass.CHANGED, "changed; no incident was named"),
        (RowClass.REUSED, "its key names another entity now"),
        (RowClass.NEW, "was not there at T"),
    )
    lines = [
        "# The modes of a recovery",
        "",
        "`--mode MODE` of `plan`, `restore`, `open` and, where rows go in place, `diff`. Made of the code.",
        "",
    ]
    for name, mode in MODES.items():
        lines += [f"**{name.value}**: {mode.description} Its rows go into {mode.destination.value}.", ""]
    lines += ["| row | " + " | ".join(MODES) + " |", "|---" * (len(MODES) + 1) + "|"]
    lines += [f"| {words} | " + " | ".join(what(mode, kind) for mode in MODES.values()) + " |" for kind, words in kinds]
    return "\n".join(lines) + "\n"


def python_page() -> str:
    """What a test suite or a script may import, out of the docstrings."""
    import inspect

    import guards
    import guards.isolation

    lines = ["# The Python API", "", "What may be imported; everything else may change. Made of the code.", ""]
    for package in (guards, guards.isolation):
        summary, _, rest = inspect.cleandoc(package.__doc__ or "").partition("\n\n")
        lines += [f"## `{package.__name__}`", "", summary, "", "```text", rest, "```", ""]
        for name in sorted(package.__all__):
            thing = getattr(package, name)
            signature = str(inspect.signature(thing)).replace("'", "") if inspect.isfunction(thing) else ""
            lines += [f"### `{name}{signature}`", "", inspect.getdoc(thing) or "", ""]
            if inspect.isclass(thing):
                for method, member in vars(thing).items():
                    function = getattr(member, "__func__", getattr(member, "fget", member))
                    if not method.startswith("_") and inspect.isfunction(function) and function.__doc__:
                        lines += [f"- `{method}`: {(inspect.getdoc(function) or '').splitlines()[0]}"]
                lines += [""]
    return "\n".join(lines).rstrip() + "\n"


def incidents_page() -> str:
    """The shipped runbooks by what a person sees, out of their front matter."""
    from runbooks.book.parse_book import books_directory, read_book
    from runbooks.commands.runbook_arguments import needed_parameters

    lines = [
        "# When it happened",
        "",
        "Find the line that fits, then read its runbook (`rowback runbook show NAME`) or run it:",
        "`--mode preview` changes nothing.",
        "[Runbooks](runbooks.md) says how they are run. Made of the shipped books.",
        "",
        "| what you see | what is done | runbook |",
        "|---|---|---|",
    ]
    for path in sorted(books_directory().glob("*.md")):
        book = read_book(path)
        lines += [f"| {book.when} | {book.purpose} | `{path.stem}` |"]
    lines += ["", "To begin with one:", "", "```sh"]
    for path in sorted(books_directory().glob("*.md")):
        needed = needed_parameters(read_book(path))
        lines += [f"rowback runbook run {path.stem} {needed}".rstrip()]
    return "\n".join([*lines, "```", ""])


def iam_page() -> str:
    """The policy, with placeholders."""
    from recovery.aws.permissions import Place, as_json
    from recovery.config import Profile

    key = "arn:aws:kms:REGION:ACCOUNT:key/KEY"
    return (
        "# The AWS permissions rowback needs\n\n"
        "`rowback doctor INSTANCE --iam-policy` prints this for one instance and profile (`--iam-policy=terraform`,"
        " `--iam-policy=cloudformation`),\nand `rowback doctor INSTANCE` asks IAM's simulator for each action."
        " `rowback-*` are the copies. Not tested against AWS\nitself yet.\n\n"
        f"```json\n{as_json(Place('aws', 'REGION', 'ACCOUNT', 'SOURCE', key), Profile())}\n```\n\n"
        "The two statements on the key are part of it when the instance is encrypted with a key of your own."
        " Credentials from Secrets Manager add\n"
        "`secretsmanager:GetSecretValue`, with `kms:Decrypt` where a key of your own encrypts the secret; IAM tokens"
        " add\n`rds-db:connect`. Where the instance could be seen, `auto-backup:*` is the ARN of its own backups:"
        " without that the\nholder might restore every instance of the account into a copy. `ReadTheNetwork` is what"
        " RDS looks at with your rights\nwhen it makes an instance. `ReadMore`, the logs, tags and IAM are optional:"
        " without them the rest works.\n`ec2:DescribeRegions` is for `coverage --all-regions`, `pricing:GetProducts`"
        " for the cost in a plan.\n\nWho holds it can tag any instance whose name begins with `rowback-`, and then"
        " remove it: give nothing else such a name.\nA key's or secret's own policy, and a session's, must allow the"
        " same; the simulator does not see them.\n"
    )


def _next_block(blocks: Iterator[str], _: re.Match[str]) -> str:
    return f"```console\n{next(blocks)}```"


def write() -> None:
    """Write every page."""
    (ROOT / "docs" / "reference" / "commands.md").write_text(commands_page())
    (ROOT / "docs" / "reference" / "json.md").write_text(json_page())
    (ROOT / "docs" / "reference" / "iam.md").write_text(iam_page())
    (ROOT / "docs" / "reference" / "modes.md").write_text(modes_page())
    (ROOT / "docs" / "reference" / "python.md").write_text(python_page())
    (ROOT / "docs" / "incidents.md").write_text(incidents_page())
    ASSUMPTIONS_FILE.write_text(assumptions_page())
    for page in PAGES:
        with tempfile.TemporaryDirectory() as directory:
            fresh = iter(run_page(page, Path(directory)))
        text = page.read_text()
        page.write_text(CONSOLE.sub(partial(_next_block, fresh), text))


if __name__ == "__main__":
    write()
