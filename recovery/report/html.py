"""Pages that stand alone: one file, nothing from elsewhere, fit to print. Everything in them is escaped."""

from __future__ import annotations

from datetime import datetime

from recovery.model.target import format_utc


def render(page: str, **values: object) -> str:
    """The page of that name in recovery/report/pages with `values` in it."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("recovery.report", "pages"), autoescape=page.endswith(".html"), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["utc"] = lambda moment: format_utc(moment) if isinstance(moment, datetime) else "-"
    environment.filters["cell"] = _cell
    return environment.get_template(page).render(**values).strip() + "\n"


def _cell(value: object) -> str:
    """Text that stays in its cell of a Markdown table, and is no markup."""
    text = " ".join(str(value).split())
    return "".join(f"\\{letter}" if letter in "|`*_<>[]\\" else letter for letter in text)
