"""pgaudit's records: AUDIT: SESSION|OBJECT,statement,substatement,class,command,type,object,text,parameters."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

from recovery.incident.statement_text import prepared_text


@dataclass(frozen=True)
class Audited:
    """One of them. `number`: of the client's statement; `nested`: 1 for that itself, more for what ran inside."""

    number: int
    nested: int
    command: str
    object: str
    text: str


def audited(message: str) -> Audited | None:
    """The audit record in a message; None for any other message, and for one that is cut off."""
    if not message.startswith("AUDIT: "):
        return None
    try:
        row = next(csv.reader(io.StringIO(message[len("AUDIT: ") :], newline=""), strict=True))
        _, number, nested, _, command, _, name, text = row[:8]
        if command != "PREPARE":  # EXECUTE is told by what was prepared
            text = prepared_text(text)
        return Audited(int(number), int(nested), command, name, "" if text.startswith("<") else text)
    except (csv.Error, ValueError, StopIteration):
        return None
