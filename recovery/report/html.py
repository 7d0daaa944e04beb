"""Pages that stand alone: one file, no script from elsewhere, fit to print. Everything in them is escaped."""

from __future__ import annotations

from datetime import datetime

from recovery.model.target import format_utc


def render(page: str, **values: object) -> str:
    """The page of that name in recovery/report/pages with `values` in it."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("recovery.report", "pages"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["utc"] = lambda moment: format_utc(moment) if isinstance(moment, datetime) else "-"
    return environment.get_template(page).render(**values) + "\n"
