"""When the log does not tell: restore copies of several target times and ask each whether the loss is in it yet.

Each copy is a case of its own, so that one left behind is listed, resumed, given up and reaped like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil, log2

from recovery.aws.restorable_source import RestorableSource
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.recovery_report import Objectives
from recovery.model.target import format_utc
from recovery.planning.check_request import Request
from recovery.planning.make_plan import make_plan, refuse_second_copy
from recovery.planning.original_login import target_on_original
from recovery.postgres.connect import Session, connect
from recovery.postgres.peek_query import peek
from recovery.store.case_directory import open_case
from recovery.workflow.case_lifecycle import give_up, run
from recovery.workflow.recovery_run import Listener, RecoveryRun

YES, NO = {"t", "true", "True", "1"}, {"f", "false", "False", "0"}


@dataclass(frozen=True)
class Bisection:
    """What is looked for: the last moment at which `good`, one SELECT of one boolean, was true.

    `wanted`: how a copy is restored; its target time is set anew for each.
    """

    wanted: Request
    good: str
    since: datetime
    until: datetime
    precision_s: int

    @property
    def copies(self) -> int:
        """How many copies it takes at most."""
        return max(1, ceil(log2(max((self.until - self.since).total_seconds() / self.precision_s, 1)))) + 2


@dataclass(frozen=True)
class Bracket:
    """`good_at`: the last moment known to be good, None when none was; `bad_at`.

    The first known not to be, None when the last that was looked for is good, so that it was lost after that.
    """

    good_at: datetime | None
    bad_at: datetime | None


def refuse_unless_lost(search: Bisection, instances: RestorableSource) -> None:
    """Raises nothing-suspect while `good` is true on the original itself: then nothing is lost that it can see."""
    facts = instances.get(search.wanted.instance)
    with connect(target_on_original(facts, search.wanted.database, search.wanted.profile)) as original:
        if _holds(original, search.good):
            raise RowbackError(
                ErrorId.NOTHING_SUSPECT,
                f"--good {search.good!r} is true on the original now, so it shows no loss",
                state=NOTHING_CREATED,
                help="write a condition that was true before and is false now",
            )


def bisect(
    search: Bisection, instances: RestorableSource, listener: Listener, tell: Callable[[datetime, bool], None]
) -> Bracket:
    """Halve the time until it is narrower than the precision. First the beginning: without a good one there is none.

    A copy that cannot be restored stays as a paused case, and its error says so; one that cannot be asked is removed.
    """
    good, bad = search.since, search.until
    began_good = _probe(search, good, instances, listener)
    tell(good, began_good)
    if not began_good:
        return Bracket(None, good)
    while (bad - good).total_seconds() > search.precision_s:
        middle = (good + (bad - good) / 2).replace(microsecond=0)
        if middle <= good:
            break
        rows_present = _probe(search, middle, instances, listener)
        tell(middle, rows_present)
        good, bad = (middle, bad) if rows_present else (good, middle)
    if bad == search.until:  # only the original itself was seen without it
        rows_present = _probe(search, bad, instances, listener)
        tell(bad, rows_present)
        if rows_present:
            return Bracket(bad, None)
    return Bracket(good, bad)


def _probe(search: Bisection, at: datetime, instances: RestorableSource, listener: Listener) -> bool:
    """One copy: restored, asked, removed."""
    request = replace(search.wanted, target_time=at)
    plan = make_plan(request, instances, say=lambda text: None)
    refuse_second_copy(plan, instances)
    case, journal = open_case(plan, Objectives(), request.profile, approved=False)
    with journal:
        recovery_run = RecoveryRun(case, journal, instances, listener)
        run(recovery_run, until="secure-copy")
        try:
            with recovery_run.copy() as copy:
                rows_present = _holds(copy, search.good)
            recovery_run.record("probed", data={"good": search.good, "held": rows_present})
        except RowbackError as error:
            fact = f"at {format_utc(at)}: {error.fact}"
            raise RowbackError(
                error.id, fact, *error.facts, state="its copy is removed; nothing was written", help=error.helps
            ) from error
        finally:
            give_up(recovery_run)
    return rows_present


def _holds(session: Session, question: str) -> bool:
    """One row with one boolean. Raises usage for anything else: an empty answer is not `no`."""
    names, rows = peek(session, question)
    value = rows[0][0] if len(rows) == 1 and len(names) == 1 else None
    if value in YES:
        return True
    if value in NO:
        return False
    raise RowbackError(
        ErrorId.USAGE,
        f"--good {question!r} gives {len(rows)} rows of {len(names)} columns, not one boolean",
        state="nothing was changed",
        help="write it like: --good 'select count(*) > 0 from content.articles'",
    )


def span_text(bracket: Bracket) -> str:
    """What was found, in words."""
    good, bad = bracket.good_at, bracket.bad_at
    if good is not None and bad is None:
        return f"good at {format_utc(good)}, the last time that was asked for: lost after it"
    assert bad is not None, "every search begins with a probe"
    if good is None:
        return f"it was lost before {format_utc(bad)} already: look further back"
    width = timedelta(seconds=round((bad - good).total_seconds()))
    return f"good at {format_utc(good)}, lost by {format_utc(bad)} ({width} apart)"
