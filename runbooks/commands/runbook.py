"""`rowback runbook`: list, show, lint, new; and the verbs of its runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from recovery.commands.options import json_option
from recovery.errors import ErrorId, RowbackError
from runbooks.commands.runbook_abort import abort
from runbooks.commands.runbook_approve import approve
from runbooks.commands.runbook_arguments import book_argument, complete_book, needed_parameters
from runbooks.commands.runbook_resume import resume
from runbooks.commands.runbook_run import run
from runbooks.commands.runbook_runs import runs

if TYPE_CHECKING:
    from runbooks.steps.problems import Problem


@click.group(epilog="Example: rowback runbook run truncated-tables -p instance=docs-staging -p database=docs")
def runbook() -> None:
    """Runbooks: Markdown that reads as a document and runs as a program."""


@runbook.command("list", epilog="Example: rowback runbook list")
@json_option
def list_(as_json: bool) -> None:
    """The runbooks that come with rowback."""
    from runbooks.book.parse_book import books_directory, read_book

    books = [read_book(path) for path in sorted(books_directory().glob("*.md"))]
    if as_json:
        click.echo(json.dumps([{"name": b.name, "title": b.title, "when": b.when} for b in books], indent=1))
        return
    width = max((len(book.name) for book in books), default=0)
    for book in books:
        click.echo(f"{book.name:{width}}  {book.when}")


@runbook.command(epilog="Example: rowback runbook show truncated-tables")
@book_argument
def show(book: str) -> None:
    """A runbook as it is written, and the parameters it needs."""
    from runbooks.book.parse_book import find_book, read_book

    parsed = read_book(find_book(book))
    click.echo(parsed.text.rstrip())
    words = f"rowback runbook run {book} {needed_parameters(parsed)}".rstrip()
    click.echo(f"\nnext: {words} --mode preview", err=True)


@runbook.command(epilog="Example: rowback runbook lint runbooks/*.md --sarif")
@click.argument("books", nargs=-1, shell_complete=complete_book)
@click.option("--sarif", "as_sarif", is_flag=True, help="Print SARIF 2.1.0 for code scanning.")
def lint(books: tuple[str, ...], as_sarif: bool) -> None:
    """What is wrong with runbooks, by line. Without arguments: those that come with rowback."""
    from recovery import __version__
    from recovery.model.values import counted
    from runbooks.book.lint import lint as look
    from runbooks.book.lint import sarif
    from runbooks.book.parse_book import books_directory, find_book

    paths = [find_book(each) for each in books] or sorted(books_directory().glob("*.md"))
    problems_by_path: dict[Path, list[Problem]] = {path: look(path) for path in paths}
    count, faulty = sum(map(len, problems_by_path.values())), sum(map(bool, problems_by_path.values()))
    if as_sarif:
        click.echo(sarif(problems_by_path, __version__))
    else:
        for path, problems in problems_by_path.items():
            for problem in problems:
                click.echo(f"{path}:{problem.line}: {problem.rule}: {problem.text}")
    if count:
        raise RowbackError(
            ErrorId.BOOK_INVALID,
            f"{counted(count, 'problem')} in {faulty} of {counted(len(paths), 'runbook')}",
            state="nothing was done",
            help="docs/runbooks.md says what each rule wants",
        )
    click.echo(f"{counted(len(paths), 'runbook')}, no problem", err=True)


@runbook.command(epilog="Example: rowback runbook new our-recovery.md")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def new(file: Path) -> None:
    """Write a small runbook to begin with. Refuses to overwrite a file."""
    from runbooks.book.book_template import TEMPLATE

    if file.exists():
        raise RowbackError(
            ErrorId.USAGE, f"{file} exists already", state="nothing was written", help="choose another name"
        )
    try:
        file.write_text(TEMPLATE)
    except OSError as error:
        raise RowbackError(
            ErrorId.USAGE,
            f"{file} cannot be written: {error.strerror}",
            state="nothing was written",
            help="choose another name",
        ) from error
    click.echo(
        f"written: {file}\nnext: rowback runbook lint {file}; rowback runbook run {file} --mode preview", err=True
    )


for _verb in (run, resume, approve, abort, runs):
    runbook.add_command(_verb)
