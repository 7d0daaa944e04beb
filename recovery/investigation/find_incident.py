"""What happened: logs, what the live database still knows, and the target time that follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path

from recovery.aws.cloudwatch import LogGroup
from recovery.aws.instance_events import events_of
from recovery.aws.instances import Instances
from recovery.aws.log_files import LogFiles
from recovery.aws.restorable_source import RestorableSource
from recovery.config import Profile
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.incident.log_gaps import errors_hidden, not_logged
from recovery.incident.log_line_prefix import OF_RDS, guess, is_zone, names_sessions, refuse_unusable, unclear_zone
from recovery.incident.rank_suspects import Question, ranked, same_table, suspects_in
from recovery.incident.scan_log import LogScan, find_in
from recovery.incident.statement_retention import MOST, Keeper
from recovery.incident.statement_sighting import Outcome, Sighting
from recovery.incident.target_time import propose
from recovery.investigation.live_database import LiveDatabase, looked_at
from recovery.investigation.log_sources import Say, Source, from_cloudwatch, from_files, from_instance
from recovery.model.incident_findings import FindReport, Proposal, Suspect
from recovery.model.instance import InstanceFacts, RestoreWindow
from recovery.model.target import format_utc
from recovery.planning.original_login import target_on_original

SHOWN = 20
NO_PROCESS = (
    "the lines of these logs name no process, session or port (%p, %c, %r in log_line_prefix): which statements belong"
    " together, and what was rolled back, they cannot tell"
)
SAMPLE_BYTES = 1 << 16
SAME_S = 1.5  # the seconds of a stderr line and the milliseconds of its csvlog twin are two looks at the clock


@dataclass(frozen=True)
class Search:
    """What to search for and in which logs.

    `files`: log files on this machine instead of the instance's. `prefix`: the log_line_prefix, where it was given.
    `cloudwatch`: read the logs exported to CloudWatch instead. `zone`: the log_timezone, where it was given.
    """

    instance: str | None
    since: datetime
    until: datetime
    question: Question
    profile: Profile
    files: tuple[Path, ...] = ()
    prefix: str | None = None
    cloudwatch: bool = False
    zone: str | None = None


@dataclass
class _Gathered:
    """What the instance and its database say; empty where they were not asked or did not answer."""

    facts: InstanceFacts | None = None
    window: RestoreWindow | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    traces: Sequence[str] = ()
    silent: list[str] = field(default_factory=list)
    zones: list[str] = field(default_factory=list)  # that name no one offset
    cut: list[str] = field(default_factory=list)  # files that were not read to their end
    unknown: RowbackError | None = None  # the database that was asked about does not exist


def find(search: Search, say: Say) -> FindReport:
    """Read everything and propose a target time. Writes nothing, anywhere.

    Raises log-unreadable, instance-unknown and what AWS answers; a database that does not answer only costs its part.
    """
    state = _Gathered()
    instances = None
    if search.instance:
        instances = Instances.connect(search.profile.region)
        state.facts = instances.get(search.instance)
        state.window = _window(instances, state)
    sources = _sources(search, say)
    with _original(search, state, search.question.database or "postgres") as original:
        state.settings = original.settings() if original else {}
    readings = [_read(source, search, state) for source in sources]
    state.cut = [each for source in sources for each in source.cut]
    every = _merged(readings)
    suspects = _with_catalog(search, state, suspects_in(every, _bounded(search)), every)
    if state.unknown and not any(each.effects and each.effects[0].startswith("DROP DATABASE") for each in suspects):
        raise state.unknown
    own = sum(1 for suspect in suspects if suspect.own)
    suspects = [suspect for suspect in suspects if not suspect.own]
    # Calls of functions that nobody knows are many, and seldom it.
    shown = ([s for s in suspects if s.danger != "unknown"] or suspects)[:SHOWN]
    begun, ended = (
        [each.first_s for each in readings if each.first_s],
        [each.last_s for each in readings if each.last_s],
    )
    events = tuple(_events(search, state))
    return FindReport(
        instance=search.instance,
        sources=tuple(name for source in sources for name in source.names),
        from_time=_moment(min(begun, default=None)),
        until_time=_moment(max(ended, default=None)),
        records=sum(each.records for each in readings),
        suspects=tuple(shown),
        more=len(suspects) - len(shown),
        silent=tuple(_silent(search, state, sources, readings)),
        traces=tuple(state.traces),
        window=state.window,
        events=events,
        own=own,
        untouched=_untouched(search.question.table, suspects),
        proposal=_proposed(search, state, suspects, readings),
    )


def _untouched(table: str | None, suspects: Sequence[Suspect]) -> str | None:
    """A table that was asked about and that nothing here names or reaches."""
    reached_names = (
        name for suspect in suspects for name in (*suspect.tables, *(each.table for each in suspect.reached))
    )
    return None if table is None or any(same_table(table, name) for name in reached_names) else table


def _events(search: Search, state: _Gathered) -> Iterator[str]:
    if search.instance is None:
        return
    try:
        events = events_of(search.instance, search.profile.region, search.since, search.until)
    except RowbackError as error:
        state.silent.append(f"RDS's own events could not be read: {error.fact}")
        return
    yield from (f"{format_utc(event.at)} {event.message}" for event in events)


def _proposed(
    search: Search, state: _Gathered, suspects: Sequence[Suspect], readings: Sequence[LogScan]
) -> Proposal | None:
    """None where the zone of the log's times is not known.

    With low confidence where the log does not distinguish sessions, where errors may not be logged, or where there was
    more than could be kept.
    """
    days = state.facts.retention_days if state.facts else 0
    if state.zones:
        return None
    proposal = propose(suspects, search.instance, state.window, retention_days=days)
    doubtful = (
        bool(state.cut)
        or NO_PROCESS in state.silent
        or any(errors_hidden(state.settings))
        or any(each.dropped for each in readings)
    )
    if proposal is None or not doubtful:
        return proposal
    return proposal.model_copy(update={"confidence": "low"})


def _merged(readings: Sequence[LogScan]) -> list[Sighting]:
    """Each statement once: a server may write the same record in several formats, and reads the clock for each.

    Of two looks at one statement, that which knows its outcome counts; else the first, whose format tells more.
    """
    every: list[Sighting] = []
    for each in readings:
        twins: dict[tuple[int, str], list[int]] = {}
        for index, sighting in enumerate(every):
            twins.setdefault((sighting.record.pid, sighting.text), []).append(index)
        for sighting in each.sightings:
            indices = twins.get((sighting.record.pid, sighting.text), [])
            twin = next((index for index in indices if abs(every[index].from_s - sighting.from_s) <= SAME_S), None)
            if twin is None:
                every.append(sighting)
                continue
            indices.remove(twin)
            if every[twin].outcome is Outcome.UNKNOWN and sighting.outcome is not Outcome.UNKNOWN:
                every[twin] = sighting
    return sorted(every, key=lambda sighting: sighting.from_s)


def _with_catalog(
    search: Search, state: _Gathered, suspects: list[Suspect], every: Sequence[Sighting]
) -> list[Suspect]:
    """The same, with what the catalog of the database in question knows: CASCADE, row estimates, how it logs."""
    likely = suspects[0].database if suspects else None
    database = search.question.database or likely
    if not database:
        return suspects
    with _original(search, state, database) as original:
        if original is None:
            return suspects
        since = original.since(search.since)
        state.settings, state.traces = original.settings(), original.traces(since, search.question.table)
        question = replace(_bounded(search), database=database)
        for sighting in every:
            original.judge(sighting)
        original.identify([each for each in every if each.record.database == database])
        known_here = suspects_in(every, question, original.reach(since))
        return ranked([*known_here, *(s for s in suspects if s.database not in ("", database))])


def _sources(search: Search, say: Say) -> list[Source]:
    if search.files:
        return from_files(search.files)
    if search.instance and search.cloudwatch:
        group = LogGroup.of(search.instance, search.profile.region)
        return from_cloudwatch(group, search.since, search.until)
    if search.instance:
        return from_instance(LogFiles.of(search.instance, search.profile.region), search.since, search.until, say)
    raise RowbackError(
        ErrorId.USAGE,
        "neither an instance nor a log file was named",
        state=NOTHING_CREATED,
        help="name the instance: rowback find INSTANCE --since 2h; or its log: rowback find --log FILE",
    )


def _bounded(search: Search) -> Question:
    """Files are looked through from end to end unless a time was asked for."""
    return replace(search.question, since_s=search.since.timestamp(), until_s=search.until.timestamp())


def _window(instances: RestorableSource, state: _Gathered) -> RestoreWindow | None:
    assert state.facts
    try:
        return instances.window(state.facts)
    except RowbackError as error:
        state.silent.append(f"the restore window is not known: {error.fact}")
        return None


@contextmanager
def _original(search: Search, state: _Gathered, database: str) -> Iterator[LiveDatabase | None]:
    """The live database, or None with the reason noted."""
    with ExitStack() as stack:
        original = None
        if state.facts is not None:
            try:
                target = target_on_original(state.facts, database, search.profile)
                original = stack.enter_context(looked_at(target, state.facts.resource_id, state.silent))
            except RowbackError as error:
                if error.id is ErrorId.DATABASE_UNKNOWN and database == search.question.database:
                    state.unknown = error
                facts = "; ".join([error.fact, *error.facts])
                state.silent.append(f"database '{database}' could not be asked: {facts}")
        yield original


def _read(source: Source, search: Search, state: _Gathered) -> LogScan:
    refuse_unusable(search.prefix or "")
    chunks, prefix = iter(source.chunks), search.prefix or state.settings.get("log_line_prefix") or OF_RDS
    if source.form == "stderr":
        sample = list(islice(chunks, 1))
        guessed = guess(b"".join(sample)[:SAMPLE_BYTES], configured=prefix)
        if guessed is None and b"".join(sample).strip():
            raise RowbackError(
                ErrorId.LOG_UNREADABLE,
                f"no line of '{source.names[0]}' begins with log_line_prefix '{prefix}'",
                state=NOTHING_CREATED,
                help="say how the server's lines begin: --log-line-prefix '%m [%p] '",
            )
        chunks, prefix = chain(sample, chunks), guessed or prefix
        zone = unclear_zone(b"".join(sample)[:SAMPLE_BYTES], prefix)
        if zone and not is_zone(search.zone or state.settings.get("log_timezone") or ""):
            state.zones.append(zone)
        if not names_sessions(prefix):
            state.silent.append(NO_PROCESS)
    zone = search.zone or state.settings.get("log_timezone")
    return find_in(chunks, prefix, source.form, Keeper(search.question.table), zone)


def _silent(search: Search, state: _Gathered, sources: Sequence[Source], readings: Sequence[LogScan]) -> Iterator[str]:
    """What an empty answer would not prove."""
    yield from dict.fromkeys([*state.silent, *state.cut])
    for zone in dict.fromkeys(state.zones):
        yield (
            f"its times are in '{zone}', which names no one offset: say which zone that is, --log-timezone"
            " Asia/Kolkata; without it no target time can be proposed"
        )
    if not sources:
        yield f"there is no log file of the time from {format_utc(search.since)} to {format_utc(search.until)}"
    first = min((each.first_s for each in readings if each.first_s), default=None)
    if first is not None and not search.files and first > search.since.timestamp() + 60:
        yield f"the logs begin at {format_utc(datetime.fromtimestamp(first, UTC))}, later than was asked for"
    if dropped := sum(each.dropped for each in readings):
        yield f"{dropped:,} statements beyond the first {MOST:,} of their kind were not kept"
    yield from errors_hidden(state.settings)
    yield from not_logged(state.settings)


def _moment(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None else None
