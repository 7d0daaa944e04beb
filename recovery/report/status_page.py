"""Where a case stands, as a page for people who do not run databases: English and Korean, one file."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from markupsafe import Markup

from recovery.files import replace_private
from recovery.model.case_progress import Standing, Status
from recovery.report.html_page import render
from recovery.report.status_words import LANGUAGES, Language, say, spoken

FILE = "status.html"


def status_page(status: Status, *, live: bool = False, language: Language = "en") -> str:
    """The whole page. `live`: it listens for changes where it came from; without, it stands alone."""
    body = Markup(status_body(status))  # noqa: S704 (rendered with everything escaped)
    return render("status.html", title=say("title", language), body=body, live=live, lang=language, say=say)


def status_body(status: Status) -> str:
    """The part that changes, in both languages."""
    return render(
        "status_body.html",
        status=status,
        languages=LANGUAGES,
        percent=round(status.progress * 100),
        say=say,
        spoken=spoken,
        safe=_safe(status),
        next=_next(status),
    )


def write_status(status: Status, directory: Path) -> None:
    """status.html in the case's directory, replaced in one go; a full disk costs the page, not the recovery."""
    with suppress(OSError):
        replace_private(directory / FILE, status_page(status).encode())


def _safe(status: Status) -> list[tuple[str, Mapping[str, object]]]:
    messages: list[tuple[str, Mapping[str, object]]] = [("safe-others", {})]
    if status.keeps_newer:
        messages.append(("safe-newer", {}))
    if status.standing is Standing.TAKEN_BACK:
        messages.append(("safe-taken-back", {}))
    elif status.standing is Standing.BESIDE:
        messages.append(("safe-unwritten", {}))
    elif status.rows is not None and status.written:
        messages.append(("safe-proven", {"rows": f"{status.rows:,}"}))
    else:
        messages.append(("safe-written" if status.written else "safe-unwritten", {}))
    if status.not_back:
        messages.append(("not-back", {"rows": f"{status.not_back:,}"}))
    if status.not_deleted:
        messages.append(("not-deleted", {"rows": f"{status.not_deleted:,}"}))
    return messages


def _next(status: Status) -> str:
    match status.standing:
        case Standing.WAITING:
            return "next-person"
        case Standing.PAUSED | Standing.IN_PART:
            return "next-engineer"
        case Standing.WORKING:
            names = [step.name for step in status.steps if not step.done and step.name != status.current]
            return names[0] if names else "next-none"
    return "next-none"
