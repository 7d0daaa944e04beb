"""What `rowback find` found, for 3 a.m.: the likeliest statement first, then the command to go on with."""

from __future__ import annotations

from collections.abc import Iterator

from guards.plain_text import joined
from recovery.model.incident_findings import FindReport, Reached, Suspect
from recovery.model.target import format_utc
from recovery.report.report_text import columns

TABLES_SHOWN = 6
CHOICES_SHOWN = 8


def find_text(finding: FindReport) -> str:
    """The whole answer."""
    where = f"'{finding.instance}'" if finding.instance else "the log"
    count = len(finding.suspects) + finding.more
    lines = [f"{count} statement{'s' * (count != 1)} of {where} that may have destroyed something", ""]
    if finding.untouched:
        lines[1:1] = [f"none of them names or reaches '{finding.untouched}' in this log", ""]
    for number, suspect in enumerate(finding.suspects, 1):
        lines += [*_suspect(number, suspect), ""]
    if finding.more:
        lines += [f"and {finding.more} less likely: name the --table, or a shorter time", ""]
    if finding.own:
        lines += [f"left out: {finding.own} statement{'s' * (finding.own != 1)} that rowback itself sent", ""]
    lines += [*_proposal(finding), *_notes(finding)]
    return joined(lines).rstrip()


def _suspect(number: int, suspect: Suspect) -> Iterator[str]:
    what = "; ".join(suspect.effects) or suspect.statement
    yield f"{number}. {suspect.outcome}: {what}"
    rows = [
        ("when", _when(suspect)),
        ("who", _who(suspect)),
        ("outcome", f"{suspect.outcome}: {suspect.why}"),
        ("reached", _reached(suspect)),
        ("statement", suspect.statement),
        ("parameters", suspect.parameters),
    ]
    yield from columns([(name, text) for name, text in rows if text])


def _when(suspect: Suspect) -> str:
    began = suspect.from_time.strftime("%Y-%m-%dT%H:%M:%S")
    began += f".{suspect.from_time.microsecond // 1000:03d}Z" if suspect.exact else "Z"
    ended = f", over by {suspect.committed_by:%H:%M:%S}Z" if suspect.committed_by else ""
    return began + ended + (f", took {suspect.duration_ms:,.0f} ms" if suspect.duration_ms is not None else "")


def _who(suspect: Suspect) -> str:
    parts = [
        f"role {suspect.role}" if suspect.role else "",
        f"from {suspect.client}" if suspect.client else "",
        f"by {suspect.application}" if suspect.application else "",
        f"in database {suspect.database}" if suspect.database else "",
        f"process {suspect.pid}",
        f"transaction {suspect.xid}" if suspect.xid else "",
    ]
    return ", ".join(part for part in parts if part)


def _reached(suspect: Suspect) -> str:
    if not suspect.reached:
        return ""
    shown = ", ".join(map(_reached_text, suspect.reached[:TABLES_SHOWN]))
    rest = len(suspect.reached) - TABLES_SHOWN
    return shown + (f" and {rest} more" if rest > 0 else "")


def _reached_text(reached: Reached) -> str:
    before = f", about {reached.rows_before:,} before" if reached.rows_before is not None else ""
    return f"{reached.table} (about {reached.rows_estimate:,} rows now{before})"


def _proposal(finding: FindReport) -> Iterator[str]:
    proposal = finding.proposal
    if proposal is None:
        zone = any("--log-timezone" in gap for gap in finding.silent)
        why = "the zone of this log's times is not known" if zone else "nothing here is likely enough"
        yield f"no target time is proposed: {why}, and a wrong time gives plausible wrong data"
        return
    if proposal.choices:
        yield f"no one target time: each has its own (below); before all of them: {format_utc(proposal.target_time)}"
    else:
        yield f"target time {format_utc(proposal.target_time)}, confidence {proposal.confidence}"
    yield f"  {proposal.because}"
    yield "  what others committed after it counts as newer, and is kept"
    yield "  target times are whole seconds: a row that was committed after it and then hit is in no copy as of it"
    if proposal.in_window is False and finding.window:
        window = f"{format_utc(finding.window.earliest)} to {format_utc(finding.window.latest)}"
        yield f"  NOT in the restore window now ({window})"
    if proposal.reachable_until:
        yield (
            f"  it stays reachable until about {format_utc(proposal.reachable_until)}; a snapshot keeps today's state:"
            f" aws rds create-db-snapshot --db-instance-identifier {finding.instance}"
            f" --db-snapshot-identifier before-repair"
        )
    if proposal.command:
        yield f"next: {proposal.command}"
        return
    yield f"which of {len(proposal.choices)} was it? each with its own target time:"
    for choice in proposal.choices[:CHOICES_SHOWN]:
        began = f"{choice.from_time:%H:%M:%S}Z"
        yield f"  {format_utc(choice.target_time)}  before {choice.what} ({choice.outcome}, {began})"
        yield f"    {choice.command}"
    if (rest := len(proposal.choices) - CHOICES_SHOWN) > 0:
        yield f"  and {rest} more: name the --table, the --database or a shorter time"


def _notes(finding: FindReport) -> Iterator[str]:
    if finding.traces:
        yield from ("", "traces in the database itself:")
        yield from (f"  {trace}" for trace in finding.traces)
    if finding.events:
        yield from ("", "what RDS did meanwhile:")
        yield from (f"  {event}" for event in finding.events)
    if finding.silent:
        yield from ("", "what this does not show:")
        yield from (f"  {gap}" for gap in finding.silent)
    span = (
        f", from {format_utc(finding.from_time)} to {format_utc(finding.until_time)}"
        if finding.from_time and finding.until_time
        else ""
    )
    yield ""
    yield f"read: {', '.join(finding.sources) or 'nothing'}{span}"
