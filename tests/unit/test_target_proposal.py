"""Suspects in, target time out: the second before the first of them, nothing where nothing is likely enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from recovery.incident.log_record import LogRecord
from recovery.incident.rank_suspects import JUMPED, Closure, Question, suspects_in
from recovery.incident.statement_sighting import Outcome, Sighting
from recovery.incident.target_time import propose
from recovery.model.incident_findings import Proposal, Reached, StatementReach, Suspect
from recovery.model.instance import RestoreWindow

AT = datetime(2026, 11, 22, 14, 20, 5, tzinfo=UTC)


def sighting(text: str, *, seconds: float = 0.0, exact: bool = False, pid: int = 7, **changed: Any) -> Sighting:
    record = LogRecord(AT.timestamp() + seconds, exact, str(pid), pid, "ann", "docs", "10.0.0.7", "psql", "LOG", "")
    given = {"outcome": Outcome.COMMITTED, "why": "the log shows its end", "until_s": record.at + 1, **changed}
    return Sighting(text, record, record.at, **given)


def proposed(*sightings: Sighting, **question: Any) -> Proposal | None:
    return propose(suspects_in(sightings, Question(**question)), "staging", None)


@pytest.mark.parametrize(
    ("seconds", "exact", "back_s"),
    [
        (0.0, False, 0),  # a second that had begun
        (0.25, True, 0.25),
        (0.0, True, 1),  # perhaps that very moment, which replay includes
    ],
)
def test_the_second_before(seconds: float, exact: bool, back_s: float) -> None:
    found = proposed(sighting("truncate a", seconds=seconds, exact=exact))
    assert found is not None
    assert found.target_time == AT + timedelta(seconds=seconds - back_s)
    assert found.confidence == "high"


def test_statements_of_one_session_are_one_incident() -> None:
    found = proposed(
        sighting("delete from s.b", seconds=4),
        sighting("update a set x = 1", seconds=9, xid=822),
        sighting("delete from d", seconds=5, pid=8, outcome=Outcome.ROLLED_BACK),
    )
    assert found is not None
    assert found.target_time == AT + timedelta(seconds=4)
    assert (found.tables, found.mode, found.incident_xids) == (("public.a", "s.b"), "repair", (822,))
    assert found.command == (
        "rowback plan staging --at 2026-11-22T14:20:09Z --database docs --table public.a --table s.b --mode repair"
        " --incident-xid 822"
    )


@pytest.mark.parametrize(
    ("statement", "table", "option"),
    [
        ('delete from "Weird Name; --"', 'public."Weird Name; --"', """'public."Weird Name; --"'"""),
        ('delete from "Sales.2026"', 'public."Sales.2026"', """'public."Sales.2026"'"""),
        ('delete from sales."a""b"', 'sales."a""b"', """'sales."a""b"'"""),
        ('delete from "Q"."t"', '"Q".t', """'"Q".t'"""),
        ('delete from "two\nlines"', 'public."two\nlines"', """$'public."two\\nlines"'"""),
    ],
)
def test_the_command_names_odd_tables_as_one_word_each(statement: str, table: str, option: str) -> None:
    """A dot inside of quotes is no schema, and a newline does not end the command."""
    found = proposed(sighting(statement))
    assert found is not None
    assert found.tables == (table,)
    assert found.command == (f"rowback plan staging --at 2026-11-22T14:20:05Z --database docs --table {option}")
    assert "\n" not in found.command


def test_rivals_and_unknown_outcomes_lower_the_confidence() -> None:
    unknown = sighting("truncate a", outcome=Outcome.UNKNOWN, why="nothing follows")
    found = proposed(unknown)
    assert found is not None
    assert (found.confidence, found.because) == (
        "medium",
        "the first statement of it began at 2026-11-22T14:20:05Z, and its outcome: nothing follows",
    )


def test_of_several_possible_incidents_none_is_chosen_and_no_time_is_too_late() -> None:
    """The target lies before all of them, whatever their outcome; each has a time and a command of its own."""
    found = proposed(
        sighting("truncate b", seconds=60, pid=8),
        sighting("update a set x = 1", outcome=Outcome.UNKNOWN, why="nothing tells"),
        *(sighting(f"update a set x = 1 where y = {n}", seconds=n, pid=100 + n) for n in range(30)),
    )
    assert found is not None
    assert (found.target_time, found.confidence, found.command) == (AT, "low", "")
    assert found.because == (
        "2 incidents are possible; the first statement of it began at 2026-11-22T14:20:05Z, and its outcome: nothing"
        " tells"
    )
    assert [(choice.what, choice.target_time, choice.command) for choice in found.choices] == [
        (
            "UPDATE a (without WHERE)",
            AT,
            "rowback plan staging --at 2026-11-22T14:20:05Z --database docs --table public.a --mode repair",
        ),
        (
            "TRUNCATE b",
            AT + timedelta(seconds=60),
            "rowback plan staging --at 2026-11-22T14:21:05Z --database docs --table public.b",
        ),
    ]


def test_damage_comes_before_certainty() -> None:
    """A whole table whose end no log shows stands before bounded writes that were committed, whoever sent them."""
    bounded = [sighting(f"update a set x = 1 where y = {n}", seconds=n, pid=n) for n in range(1, 40)]
    whole = sighting("update a set x = 1", pid=99, outcome=Outcome.UNKNOWN, until_s=None)
    assert suspects_in([*bounded, whole], Question(table="a"))[0].statement == "update a set x = $1"
    found = proposed(*bounded, whole, table="a")
    assert found is not None
    assert (found.target_time, found.confidence) == (AT, "medium")


def test_a_wrong_time_is_worse_than_none() -> None:
    assert proposed() is None
    assert proposed(sighting("truncate a", outcome=Outcome.ROLLED_BACK)) is None
    assert proposed(sighting("update a set x = 1 where id = 7")) is None
    assert proposed(sighting("select app.purge()")) is None


def test_the_housekeeping_of_rds_is_nobody_s_incident() -> None:
    beat = sighting("select pg_walfile_name(pg_switch_wal())")
    beat = replace(beat, record=beat.record._replace(database="rdsadmin"))
    assert [s.statement for s in suspects_in([beat, sighting("truncate a")], Question())] == ["truncate a"]
    assert len(suspects_in([beat], Question(database="rdsadmin"))) == 1


def test_the_table_that_lost_something_decides() -> None:
    named = proposed(sighting("truncate a"), sighting("delete from s.b where id = 7", seconds=60), table="s.b")
    assert named is not None
    assert named.tables == ("s.b",)
    both = [sighting("truncate a cascade"), sighting("truncate z", seconds=60)]
    by_cascade = suspects_in(
        both,
        Question(table="s.child"),
        lambda tables, how: [Reached(table="s.child", rows_estimate=1)] * (how is StatementReach.CASCADE),
    )
    assert by_cascade[0].tables == ("a",)


def test_what_was_dropped_is_made_anew_or_brought_out_of_a_whole_instance() -> None:
    """A command that is refused would cost minutes at 3 a.m."""
    found = proposed(sighting("drop table s.a"))
    assert found is not None
    assert found.command == (
        "rowback restore staging --at 2026-11-22T14:20:05Z --database docs --mode recreate --table s.a"
    )
    assert found.because.endswith("; what was dropped is made anew, with what hung on it: --mode recreate")
    column = proposed(sighting("alter table s.a drop column c"))
    assert column is not None
    assert column.command == (
        "rowback restore staging --at 2026-11-22T14:20:05Z --database docs --mode recreate --table s.a"
    )
    both = proposed(sighting("drop table s.a"), sighting("truncate s.b"))
    assert both is not None
    assert both.command == "rowback plan staging --at 2026-11-22T14:20:05Z --database docs --table s.b"
    schema = proposed(sighting("drop schema s cascade"))
    assert schema is not None
    assert schema.command == (
        "rowback restore staging --at 2026-11-22T14:20:05Z --database docs --mode recreate --table 's.*'"
    )
    kind = proposed(sighting("drop type m cascade"))
    assert kind is not None
    assert kind.command == "rowback restore staging --at 2026-11-22T14:20:05Z --database docs --mode recreate"
    database = proposed(sighting("drop database s"))
    assert database is not None
    assert database.command == "rowback runbook show lost-instance"
    assert database.because.endswith(
        "; rowback puts rows into databases that exist: take what was dropped out of the whole instance as of that"
        " time, restored under another name, with pg_dump"
    )


def test_a_database_that_was_dropped_is_asked_for_by_its_name() -> None:
    drop = sighting("drop database shop")
    drop = replace(drop, record=drop.record._replace(database="postgres"))
    (found,) = suspects_in([drop, sighting("truncate a")], Question(database="shop"))
    assert (found.database, found.tables) == ("shop", ())
    proposal = propose([found], "staging", None)
    assert proposal is not None
    assert (proposal.database, proposal.command) == ("shop", "rowback runbook show lost-instance")


def test_of_two_tables_with_one_name_a_log_does_not_tell_which() -> None:
    def closure(tables: Sequence[str], how: StatementReach) -> list[Reached]:
        return [Reached(table=f"{schema}.orders", rows_estimate=1) for schema in ("public", "tenant")]

    def said(**question: Any) -> tuple[str, tuple[str, ...]]:
        found = propose(suspects_in([sighting("delete from orders")], Question(**question), closure), "staging", None)
        assert found is not None
        assert "several tables have one of its names" in found.because
        return found.confidence, found.tables

    assert said() == ("low", ("public.orders", "tenant.orders"))
    assert said(table="tenant.orders") == ("medium", ("tenant.orders",))
    assert said(table="orders") == ("low", ("public.orders", "tenant.orders"))


def test_the_one_whose_counters_jumped_is_meant_if_that_was_seen_before() -> None:
    def closure_at(at: datetime) -> Closure:
        jumped = Reached(table="tenant.orders", rows_estimate=1, rows_before=2000, counted_at=at)
        return lambda tables, how: [Reached(table="public.orders", rows_estimate=1), jumped]

    early, late = (
        suspects_in([sighting("delete from orders")], Question(), closure_at(AT + timedelta(hours=hours)))[0]
        for hours in (-1, 1)
    )
    assert (early.target_tables, late.target_tables) == (("tenant.orders",), ("public.orders", "tenant.orders"))
    assert early.score - late.score == JUMPED
    assert [hit.rows_before for hit in late.reached] == [None, None]
    half = closure_at(AT + timedelta(seconds=0.5))  # a log that cuts its seconds off may mean any moment of this one
    (cut,) = suspects_in([sighting("delete from orders")], Question(), half)
    (exact,) = suspects_in([sighting("delete from orders", exact=True)], Question(), half)
    assert (cut.target_tables, exact.target_tables) == (early.target_tables, late.target_tables)


def test_only_what_our_own_sessions_send_is_ours() -> None:
    """A hand that uses before-images, or a value that reads like ours, may be the incident."""
    texts = (
        "delete from t using rowback_case_20261129_000000_abcd.before_1_0 b where true",
        "delete from t where x <> 'rowback_op'",
        'delete from only "s"."t" t using "pg_temp"."rowback_stage_0" s where s."rowback_op" = \'d\'',
        '/* rowback */ alter table only "s"."t" disable trigger "a"',
    )
    assert [suspect.own for suspect in suspects_in([sighting(text) for text in texts[:2]], Question())] == [False] * 2
    assert [suspect.own for suspect in suspects_in([sighting(text) for text in texts[2:]], Question())] == [True] * 2


def test_what_rowback_wrote_itself_comes_last_and_temporary_tables_are_no_tables() -> None:
    own = sighting("delete from s.a", pid=8)
    own = replace(own, record=own.record._replace(application="rowback"))
    script = sighting("delete from pg_temp.stage", pid=7, seconds=1)
    ranked = suspects_in([own, script, sighting("delete from s.b")], Question())
    assert ranked[-1].application == "rowback"
    found = propose(ranked, "staging", None)
    assert found is not None
    assert found.tables == ("s.b",)


def test_the_window_and_how_long_it_stays_open() -> None:
    window = RestoreWindow(earliest=AT - timedelta(days=7), latest=AT - timedelta(minutes=5))
    suspects: list[Suspect] = suspects_in([sighting("truncate a")], Question())
    found = propose(suspects, "staging", window, retention_days=7)
    assert found is not None
    assert found.in_window is False, "RDS is five minutes behind"
    assert found.reachable_until == AT + timedelta(days=7)
