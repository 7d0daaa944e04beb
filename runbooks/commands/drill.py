"""`rowback drill` and `rowback drills`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from guards.plain_text import joined, shell_word
from runbooks.commands.lab import lab_errors
from runbooks.commands.runbook_arguments import complete_book

if TYPE_CHECKING:
    from recovery.config import Profile
    from runbooks.drills.datasets import Dataset, FaultKind
    from runbooks.drills.rehearsal import InstanceDrillRequest
    from runbooks.drills.run_drill import DrillReport, DrillRequest


@click.command(epilog="Example: rowback drill truncated-tables --articles 20000")
@click.argument("book", required=False, shell_complete=complete_book)
@click.option(
    "--fault",
    type=click.Choice(["truncate", "bad-delete", "bad-update", "drop-column", "drop-table", "drop-schema"]),
    help="What happens (default: what the book is for, else truncate).",
)
@click.option("--articles", type=click.IntRange(min=10), default=2000, show_default=True, help="Size of the data set.")
@click.option("--rows", type=click.IntRange(min=100), help="One table of so many rows instead of the documents.")
@click.option("--chinook", type=click.Path(path_type=Path), help="Chinook_PostgreSql.sql instead of the documents.")
@click.option("--seed", default=7, show_default=True, help="The same seed gives the same rows.")
@click.option("--rto", "rto_s", default=300, show_default=True, help="Objective for the recovery time, seconds.")
@click.option("--rpo", "rpo_s", default=60, show_default=True, help="Objective for the data loss, seconds.")
@click.option("--transport", type=click.Choice(["dump", "copy"]), default="dump", show_default=True)
@click.option("--find", "find_", is_flag=True, help="Nobody says what happened and when: the log has to.")
@click.option(
    "--target",
    default="lab",
    show_default=True,
    metavar="lab|PROFILE",
    help="A profile: its instance is restored to a copy, the copy is broken and repaired.",
)
@click.option("--table", "tables", multiple=True, help="With --target PROFILE: truncated on the copy.")
@click.option("--repeat", type=click.IntRange(min=1), default=1, show_default=True, help="So many in a row.")
@click.option(
    "--evidence",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep reports there, with a file of their hashes.",
)
@click.option("--calendar", type=click.Choice(["cron", "systemd", "github"]), help="Instead: print a monthly schedule.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout; a list with --repeat.")
def drill(  # noqa: PLR0913, PLR0917 (one argument an option)
    book: str | None,
    fault: str | None,
    articles: int,
    rows: int | None,
    chinook: Path | None,
    seed: int,
    rto_s: int,
    rpo_s: int,
    transport: str,
    find_: bool,
    target: str,
    tables: tuple[str, ...],
    repeat: int,
    evidence: Path | None,
    calendar: str | None,
    as_json: bool,
) -> None:
    """Rehearse: an incident on a lab of its own, among good writes; rowback repairs it, the result is proven.

    With BOOK the runbook of that name is followed, every command of it; its approvals and manual steps are given.
    With --target PROFILE a real instance is drilled on a restored copy of its own; itself it is only read.
    """
    from recovery.model.recovery_plan import Transport
    from runbooks.drills import datasets
    from runbooks.drills.book_drill import FAULTS
    from runbooks.drills.drill_evidence import schedule
    from runbooks.drills.rehearsal import InstanceDrillRequest
    from runbooks.drills.run_drill import DrillRequest

    if calendar:
        _refuse_beside_calendar(("--target", target != "lab"), ("--table", tables), ("BOOK", book))
        click.echo(schedule(calendar), nl=False)
        return
    if book:
        _refuse_book(book, transport)

    kind = datasets.FaultKind(fault) if fault else FAULTS.get(book or "", datasets.FaultKind.TRUNCATE)
    request: DrillRequest | InstanceDrillRequest
    if target == "lab":
        _refuse_options("lab", {"--table": tables})
        dataset = lab_errors(lambda: _dataset(chinook, rows, articles, seed))
        request = DrillRequest(
            dataset=_befallen_by(kind, dataset),
            seed=seed,
            fault=kind,
            rto_s=rto_s,
            rpo_s=rpo_s,
            transport=Transport(transport),
            find=find_,
            book=book,
        )
    else:
        made_up = {"--rows": rows, "--chinook": chinook, "--find": find_, "BOOK": book, **_options("articles", "seed")}
        _refuse_options(target, {**made_up, f"--fault {kind}": kind is not datasets.FaultKind.TRUNCATE})
        request = InstanceDrillRequest(*_profiled(target, tables), rto_s, rpo_s, Transport(transport))
    reports = _hold(request, repeat, evidence, as_text=not as_json)
    if as_json:
        documents = [json.loads(report.model_dump_json()) for report in reports]
        click.echo(json.dumps(documents if repeat > 1 else documents[0], indent=1))
    raise SystemExit(0 if all(report.passed for report in reports) else 40)


def _dataset(chinook: Path | None, rows: int | None, articles: int, seed: int) -> Dataset:
    from runbooks.drills import datasets

    if chinook:
        return datasets.chinook(chinook)
    return datasets.rows(rows) if rows else datasets.documents(articles=articles, seed=seed)


def _hold(
    request: DrillRequest | InstanceDrillRequest, repeat: int, evidence: Path | None, *, as_text: bool
) -> list[DrillReport]:
    """Several drills in a row, each recorded, printed and kept as requested."""
    from recovery.store.drill_history import held_drills
    from runbooks.drills.drill_evidence import keep_evidence

    if evidence:
        _make_directory(evidence)
    before, reports = held_drills(), []
    for _ in range(repeat):
        report = _remembered(request)
        reports.append(report)
        if evidence:
            click.echo(f"evidence: {keep_evidence(report, evidence)}", err=True)
        if as_text:
            passed_before = [each for each in before if each.passed and each.target == report.target]
            earlier = [each.recovery_time_s for each in passed_before if each.recovery_time_s is not None]
            click.echo("\n" + drill_text(report, earlier))
    return reports


def _make_directory(path: Path) -> None:
    """Before the drill: what it proves must have a place."""
    from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError

    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RowbackError(
            ErrorId.USAGE,
            f"{path} cannot be made: {error.strerror}",
            state=NOTHING_CREATED,
            help="choose another --evidence",
        ) from error


def _refuse_beside_calendar(*options: tuple[str, object]) -> None:
    from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError

    if named := [name for name, value in options if value]:
        raise RowbackError(
            ErrorId.USAGE,
            f"{', '.join(named)} does not go with --calendar, which schedules rowback drill on the lab",
            state=NOTHING_CREATED,
            help="rowback drill --calendar cron; then add them to the command in what it prints",
        )


def _refuse_book(book: str, transport: str) -> None:
    """Before a lab is started for it: a book that cannot be read, and what the book itself decides."""
    from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
    from runbooks.book.parse_book import find_book, read_book

    read_book(find_book(book))
    if transport != "dump":
        raise RowbackError(
            ErrorId.USAGE,
            f"--transport {transport} does not go with a runbook: its own commands decide that",
            state=NOTHING_CREATED,
            help=f"rowback drill {shell_word(book)}",
        )


def _befallen_by(kind: FaultKind, dataset: Dataset) -> Dataset:
    """The data set, which that can befall. Raises usage."""
    from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError

    if kind not in dataset.faults:
        raise RowbackError(
            ErrorId.USAGE,
            f"--fault {kind} is not for data set {dataset.name}, whose tables are not alone in their schema",
            state=NOTHING_CREATED,
            help=f"rowback drill --fault {kind} on the documents, or one of: {', '.join(dataset.faults)}",
        )
    return dataset


def _options(*names: str) -> dict[str, bool]:
    """Options that have a default, and whether they were named all the same."""
    context = click.get_current_context()
    return {f"--{name}": context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in names}


def _refuse_options(target: str, options: dict[str, object]) -> None:
    from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError

    if named := [name for name, value in options.items() if value]:
        lab = target == "lab"
        what = "a drill on the lab makes its own tables" if lab else "a drill on an instance truncates tables of it"
        raise RowbackError(
            ErrorId.USAGE,
            f"{', '.join(named)} does not go with --target {target}: {what}",
            state=NOTHING_CREATED,
            help="add --target PROFILE" if lab else f"rowback drill --target {shell_word(target)} --table TABLE",
        )


def _profiled(name: str, tables: tuple[str, ...]) -> tuple[str, str, tuple[str, ...], Profile]:
    """Instance, database, tables and profile of a drill on a real instance. Refuses to guess any of them."""
    from recovery.config import load_profile
    from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError

    profile = load_profile(name)
    missing = {
        "instance in the profile": profile.instance,
        "database in the profile": profile.database,
        "--table": tables,
    }
    if absent := [what for what, value in missing.items() if not value]:
        raise RowbackError(
            ErrorId.USAGE,
            f"--target {name} needs {' and '.join(absent)}",
            state=NOTHING_CREATED,
            help=f"rowback drill --target {shell_word(name)} --table TABLE;"
            " docs/reference/profiles.md shows every field",
        )
    assert profile.instance
    assert profile.database
    return profile.instance, profile.database, tables, profile


def _remembered(request: DrillRequest | InstanceDrillRequest) -> DrillReport:
    """Hold a drill. One that ends in an error failed, and is remembered so; one that was refused was none."""
    from recovery.errors import NOTHING_CREATED, RowbackError
    from recovery.model.recovery_report import Objectives
    from recovery.report.progress_listener import listener
    from recovery.store.drill_history import remember_drill
    from runbooks.drills.rehearsal import InstanceDrillRequest, rehearse
    from runbooks.drills.run_drill import DrillRequest, failed, perform, record_of

    try:
        match request:
            case DrillRequest():
                report: DrillReport = lab_errors(lambda: perform(request, listener()))
            case _:
                report = rehearse(request, listener())
    except RowbackError as error:
        if isinstance(request, InstanceDrillRequest) and error.state == NOTHING_CREATED:
            raise  # refused: not a drill, so not a failed one
        objectives = Objectives(recovery_time_s=request.rto_s, data_loss_s=request.rpo_s)
        remember_drill(failed(*request.labels, objectives))
        raise
    remember_drill(record_of(report))
    return report


@click.command(epilog="Example: rowback drills --format html > drills.html")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "html", "json", "prometheus"]),
    default="text",
    show_default=True,
    help="prometheus: a textfile for node_exporter.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def drills(form: str, as_json: bool) -> None:
    """Drills that this machine remembers: passed or not, recovery time against the objective, and the trend."""
    from recovery.report.drills_text import drills_html, drills_prometheus, drills_text
    from recovery.store.drill_history import held_drills

    records = held_drills()
    match "json" if as_json else form:
        case "json":
            click.echo(json.dumps([each.model_dump(mode="json") for each in records], indent=1))
        case "html":
            click.echo(drills_html(records), nl=False)
        case "prometheus":
            click.echo(drills_prometheus(records), nl=False)
        case _:
            click.echo(drills_text(records))


def drill_text(report: DrillReport, earlier: Sequence[float] = ()) -> str:
    """The drill's result for a person. `earlier`: recovery times of drills before it, in seconds."""
    rto, rpo = report.objectives.recovery_time_s, report.objectives.data_loss_s
    verdict = {True: "yes", False: "NO"}
    rows = [
        ("fault", f"{report.fault} at {report.fault_at:%H:%M:%S}Z"),
        ("repaired by", f"mode {report.mode}, on {report.broken}"),
        ("restored to", f"{report.target_time:%Y-%m-%dT%H:%M:%SZ}, PostgreSQL {report.postgres}"),
        (
            "rows proven back",
            f"{verdict[report.restored]} ({report.rows:,} rows, equal to {report.measure})",
        ),
        ("rest unchanged", verdict[report.outside_scope_unchanged]),
        *_billing(report),
        ("instances left over", ", ".join(report.leftover_instances) or "none"),
        ("recovery time", f"{report.recovery_time_s:.1f} s (objective {rto} s)"),
        ("data loss", f"{report.data_loss_s:.1f} s (objective {rpo} s)"),
    ]
    if earlier:
        compared = report.recovery_time_s / max(sorted(earlier)[len(earlier) // 2], 0.001)
        rows.append(("compared", f"{compared:.1f} times the median of {len(earlier)} earlier drills"))
    head = "drill PASSED" if report.passed else "drill FAILED"
    return joined([head, "", *(f"  {name:24}  {value}" for name, value in rows)])


def _billing(report: DrillReport) -> list[tuple[str, str]]:
    if report.target != "lab":
        return []
    return [("billing kept every write", f"{report.billing_writes_kept} of {report.billing_writes_acknowledged}")]
