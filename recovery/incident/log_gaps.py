"""What a log cannot show, by the settings in force when it was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping


def errors_hidden(settings: Mapping[str, str]) -> Iterator[str]:
    """Then what failed looks as if it had gone well. PostgreSQL documentation 20.8.2: LOG ranks above ERROR here."""
    if (least := settings.get("log_min_messages", "warning")) in ("log", "fatal", "panic"):
        yield f"log_min_messages = {least}: errors are not logged, and statements that failed may count as committed"
    language = settings.get("lc_messages", "C")
    if not language.startswith(("C", "POSIX", "en")):
        yield f"lc_messages = {language}: only English severities are understood, so failures may count as committed"


def not_logged(settings: Mapping[str, str]) -> Iterator[str]:
    """Statements that succeed and do not appear. Empty settings tell nothing."""
    if not settings:
        return
    slow = settings.get("log_min_duration_statement", "-1")
    if slow == "0" or settings.get("pgaudit.log", "none") not in ("none", ""):
        return
    note = f"; only those of {slow} or longer are" if slow != "-1" else ""
    match settings.get("log_statement"):
        case "none":
            yield f"log_statement = none: statements that succeed are not logged{note}"
        case "ddl":
            yield f"log_statement = ddl: DROP and ALTER are logged, TRUNCATE, DELETE and UPDATE are not{note}"
        case "mod":
            yield f"log_statement = mod: BEGIN and COMMIT, DO blocks, functions and WITH are not logged{note}"
