"""Pages that stand alone: one file, nothing from elsewhere, fit to print. Everything in them is escaped."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

from guards.plain_text import plain
from recovery.model.target import format_utc

if TYPE_CHECKING:
    from jinja2 import Environment


def render(page: str, **values: object) -> str:
    """The page of that name in recovery/report/pages with `values` in it."""
    return _environment(escaped=page.endswith(".html")).get_template(page).render(**values).strip() + "\n"


@cache
def _environment(*, escaped: bool) -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("recovery.report", "pages"),
        undefined=StrictUndefined,
        autoescape=escaped,  # noqa: S701 (off for Markdown alone)
        finalize=_in_a_line,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["utc"] = lambda moment: format_utc(moment) if isinstance(moment, datetime) else "-"
    made.filters["cell"] = _cell
    return made


def _in_a_line(value: object) -> object:
    """A value as one line without anything that a terminal would act on: pages are read in pagers, too.

    Markup of our own making stays as it is.
    """
    return value if hasattr(value, "__html__") else plain(str(value))


def _cell(value: object) -> str:
    """Text that stays in its cell of a Markdown table, and is no markup."""
    text = " ".join(str(value).split())
    return "".join(f"\\{letter}" if letter in "|`*_<>[]\\" else letter for letter in text)
