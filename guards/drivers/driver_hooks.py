"""What every driver's guard does, in one place: it judges each new connection, holds unproven ones, checks each text.

A driver's module says how its connections are asked, and where its texts pass; it decides nothing. The guard's own
statements come as a `QueryExchange`, which each driver conducts in its own way of waiting. One contract suite runs over
all drivers and ways (tests/guards/test_contract.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

from guards.cross_database_reach import may_reach
from guards.guard_session import READ_ONLY, ConnectionEnds, Guard, QueryExchange, Row, active
from guards.own_databases import LIFT, Making, making
from guards.refusal_text import Judgement
from guards.server_evidence import Link

T = TypeVar("T")


def judge_and_hold(guard: Guard, link: Link, ends: Callable[[], ConnectionEnds]) -> QueryExchange[Judgement]:
    """Judge the server of a new connection before its caller has it, and hold it unless it is proven."""
    judgement = yield from guard.judge_connection(link, ends)
    yield from hold_read_only(judgement)
    return judgement


def hold_read_only(judgement: Judgement | None) -> QueryExchange[None]:
    """Make the session of an unproven database read-only.

    Behind a pooler nothing is set: session settings would stay on the pooler's server connection, which other clients
    use afterwards.
    """
    if judgement is not None and not judgement.verdict.disposable and not judgement.evidence.pooled:
        yield READ_ONLY


def is_held(judgement: Judgement | None) -> bool:
    """Whether a connection is known to be unproven."""
    return judgement is not None and not judgement.verdict.disposable


def passes(judgement: Judgement | None, text: str) -> bool:
    """Whether nothing about the text needs to be looked at: what a proven database costs for nearly every statement."""
    return is_free(judgement) and not may_reach(text)


def is_free(judgement: Judgement | None) -> bool:
    """Whether a connection is proven, and its database shows no tables of another server."""
    return judgement is not None and judgement.verdict.disposable and not judgement.evidence.foreign_servers


def check(judgement: Judgement | None, text: str, ends: Callable[[], ConnectionEnds]) -> None:
    """Raise Refused, or let the text be sent. `judgement` None: the connection is older than the guard."""
    guard = active()
    if guard is not None and not passes(judgement, text):
        guard.check(judgement, text, ends)


def may_make(judgement: Judgement | None, text: str) -> bool:
    """Whether a text may be about databases of this run, which a new server lets pass anyway."""
    return (
        judgement is not None and (judgement.verdict.by_owner or not judgement.verdict.disposable) and may_reach(text)
    )


def making_in(judgement: Judgement, text: str, ends: Callable[[], ConnectionEnds]) -> Making | None:
    """Whether a text only makes or ends databases of this run. On a connection that is in no transaction."""
    guard = active()
    return making(text, guard.statement_judge(judgement, ends())) if guard else None


def lift(made: Making) -> QueryExchange[None]:
    """Before such a text is sent. Whatever keeps `held_again` from its end closes the connection."""
    if made.lifts:
        yield LIFT


def hold_again(made: Making) -> QueryExchange[None]:
    """Afterwards, whether the server took it or not."""
    if made.lifts:
        yield READ_ONLY


def conducted(exchange: QueryExchange[T], ask: Callable[[str], Row]) -> T:
    """A talk on a connection that answers at once."""
    try:
        text = next(exchange)
        while True:
            text = exchange.send(ask(text))
    except StopIteration as stop:
        return cast(T, stop.value)


async def conducted_async(exchange: QueryExchange[T], ask: Callable[[str], Awaitable[Row]]) -> T:
    """A talk on a connection that is awaited."""
    try:
        text = next(exchange)
        while True:
            text = exchange.send(await ask(text))
    except StopIteration as stop:
        return cast(T, stop.value)
