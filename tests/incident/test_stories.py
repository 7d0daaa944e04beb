"""Of each story the incident comes first and the target time lies before it; never behind it, whatever is logged."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from recovery.config import Profile
from recovery.incident import rank_suspects
from recovery.incident.log_line_prefix import OF_RDS
from recovery.incident.rank_suspects import Question
from recovery.investigation.find_incident import Search, find
from recovery.model.incident_findings import FindReport, Suspect
from runbooks.lab.lab_server import Lab
from tests.incident.afternoons import FURNISH, Afternoon, Incident, Story
from tests.incident.fix_logs import logging_server
from tests.incident.stories import STORIES

WAYS = ("all", "mod")  # log_statement
# Replay may stop a second early: RDS takes whole seconds, and a line of its log has no fraction.
EARLY = timedelta(seconds=2)
SCRATCH_IS_NOT_KNOWN = ("mod", "scratch_tables")  # a ROLLBACK that is not logged may have left its name to a real table
UNLOGGED = {("mod", "do_block"), ("mod", "with_delete")}  # log_statement = mod does not tell of these


@dataclass(frozen=True)
class Told:
    """The log of all stories, and what happened in each."""

    log: Path
    incidents: dict[tuple[str, str], list[Incident]]

    def find(self, way: str, name: str) -> FindReport:
        """As somebody would ask who knows the database alone."""
        began = datetime.fromtimestamp(0, UTC)
        return find(
            Search(None, began, datetime.now(UTC), Question(f"{way}_{name}"), Profile(), (self.log,)), lambda *_: None
        )


@pytest.fixture(scope="session")
def told(lab: Lab) -> Iterator[Told]:
    """All stories, each in a database of its own, in one log."""
    root, incidents = lab.root / "stories", dict[tuple[str, str], list[Incident]]()
    with logging_server(lab.engine.tools, root, OF_RDS) as dsn:
        for way in WAYS:
            for name, tell in STORIES.items():
                incidents[way, name] = played(dsn, f"{way}_{name}", way, tell)
    yield Told(root / "log" / "log", incidents)
    shutil.rmtree(root)


def played(dsn: str, database: str, way: str, tell: Story) -> list[Incident]:
    with psycopg.connect(dsn + "postgres", autocommit=True) as server:
        server.execute(f"create database {database}")
    with psycopg.connect(dsn + database, autocommit=True) as furnishing:
        furnishing.execute(FURNISH)
        furnishing.execute(f"alter database {database} set log_statement = '{way}'")
    afternoon = Afternoon(dsn + database)
    tell(afternoon)
    for name in list(afternoon.sessions):
        afternoon.leaves(name)
    return afternoon.incidents


def is_it(suspect: Suspect, incident: Incident) -> bool:
    """By the statement's own beginning, and near its time."""
    text = suspect.statement.lower()
    return text.startswith(incident.begins) and abs(suspect.from_time - incident.began) < timedelta(seconds=30)


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("way", WAYS)
def test_no_target_time_behind_it_and_the_first_suggestion_is_it(
    told: Told, way: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An afternoon is played in a second, so what comes all day comes within it."""
    monkeypatch.setattr(rank_suspects, "HABIT_S", 0)
    incidents, found = told.incidents[way, name], told.find(way, name)
    proposal = found.proposal
    if (way, name) in UNLOGGED:
        assert proposal is None
        return
    assert proposal, [s.statement for s in found.suspects]
    assert proposal.target_time < min(incident.over for incident in incidents)
    if len(incidents) == 1 and not proposal.choices:
        assert proposal.target_time >= incidents[0].began - EARLY
    offered = proposal.choices or [proposal]
    for incident in incidents:
        times = [each.target_time for each in offered]
        assert any(incident.began - EARLY <= time < incident.over for time in times), (incident, times)
    assert (way, name) == SCRATCH_IS_NOT_KNOWN or any(is_it(found.suspects[0], incident) for incident in incidents), (
        found.suspects[0]
    )
