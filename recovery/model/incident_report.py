"""A case as an incident report tells it: what the journal knows, and what only people can say."""

from __future__ import annotations

from typing import Literal

from recovery.model.recovery_report import Report
from recovery.model.values import Moment, Value

# What no journal knows (the SRE book's postmortem, sources: OPS-postmortem).
BLANKS = (
    ("Summary", "What happened, in two sentences for those who were not there."),
    ("Impact", "Who could not do what, from when to when."),
    ("Root cause", "Why it was possible. Ask five times."),
    ("Trigger", "What set it off this time."),
    ("Detection", "Who noticed, how, and how long after."),
    ("What went well", ""),
    ("What went wrong", ""),
    ("Where we got lucky", ""),
)


class Happened(Value):
    """One line of the timeline."""

    at: Moment
    text: str
    kind: Literal["plain", "good", "bad"] = "plain"


class TableRows(Value):
    """One table: its rows by class, what was written, and the keys of a few of them."""

    table: str
    classes: dict[str, int]
    inserted: int
    updated: int
    deleted: int
    samples: tuple[str, ...] = ()


class Story(Value):
    """Everything an incident report holds.

    `incident`: what the log said; `cost`: in words, unknown where it is. `amounts_to`: the outcome in words that cannot
    be read as more; `not_back`, `not_deleted`: each reason with its rows.
    """

    schema_version: Literal[1] = 1
    report: Report
    plan_summary: str
    incident: tuple[str, ...]
    timeline: tuple[Happened, ...]
    tables: tuple[TableRows, ...]
    whole: tuple[str, ...]
    left_out: tuple[str, ...]
    decisions: tuple[str, ...]
    amounts_to: str = ""
    not_back: tuple[str, ...] = ()
    not_deleted: tuple[str, ...] = ()
    proof: tuple[str, ...]
    cost: str
    leftovers: tuple[str, ...]
    postgres: str
    blanks: tuple[tuple[str, str], ...] = BLANKS
