"""Arguments that name a book or a run, and how a shell completes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from guards.plain_text import shell_word

if TYPE_CHECKING:
    from runbooks.book.document import Book


def complete_book(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """The books that come with rowback, and those of this directory's own."""
    from runbooks.book.parse_book import books_directory

    paths = [*books_directory().glob("*.md"), *Path().glob("*.md")]
    names = [path.stem if path.parent == books_directory() else str(path) for path in sorted(paths)]
    return [name for name in names if name.startswith(incomplete)]


def complete_run(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Runs whose id begins or ends so, the newest first."""
    from runbooks.execution.run_store import all_runs

    ids = [run.id for run, _ in reversed(all_runs())]
    return [id for id in ids if id.startswith(incomplete) or id.endswith(incomplete)]


book_argument = click.argument("book", shell_complete=complete_book)
run_argument = click.argument("run_id", metavar="RUN", shell_complete=complete_run)


def needed_parameters(book: Book) -> str:
    """The options that `runbook run` wants for a book, with its own examples, as a shell takes them."""
    values = ((p.name, p.example or "…") for p in book.parameters if p.default is None)
    return " ".join(f"-p {shell_word(f'{name}={value}')}" for name, value in values)
