"""Values for a spreadsheet, which takes some texts for formulas and runs them: those begin with an apostrophe then."""

from __future__ import annotations

from collections.abc import Mapping

# OWASP, CSV injection: what makes a cell a formula in Excel, LibreOffice and Google Sheets.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def cell(value: str | None) -> str | None:
    """A value that no spreadsheet computes; numbers stay numbers."""
    if value is None or not value.startswith(FORMULA) or _is_number(value):
        return value
    return f"'{value}"


def cells(record: Mapping[str, object]) -> dict[str, object]:
    """A record with each of its texts made harmless; JSON in it begins with a brace and is no formula."""
    return {name: cell(value) if isinstance(value, str) else value for name, value in record.items()}


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return value.strip() == value
