"""The contract of the reload modes that write in place: rows as declared, and an undo that takes them back."""

from __future__ import annotations

import pytest

from recovery.model.modes import DEFAULT, MODES
from recovery.model.modes.reload_mode import Followed, Mode, ReloadMode
from recovery.model.row_class import RowClass
from tests.contract.reload_mode_oracle import GOOD, INCIDENT, PAST, QUERY, by_id, expected
from tests.fix_lab import Database
from tests.fix_repair import Past, xid_of

IN_PLACE = [pytest.param(mode, id=name.value) for name, mode in MODES.items() if mode.in_place]


@pytest.mark.parametrize("mode", IN_PLACE)
def test_rows_are_as_the_mode_declares_and_undo_takes_them_back(
    past: Past, database: Database, mode: ReloadMode
) -> None:
    with past(*PAST) as times:
        then = by_id(database.rows(QUERY))
        xid = xid_of(database.live, database, *INCIDENT)
        database.run(*GOOD)
        now = by_id(database.rows(QUERY))
        times.diff(mode=mode.name, incident_xids=(xid,))
        times.apply()
        assert by_id(database.rows(QUERY)) == expected(mode, then, now)
        times.undo()
        assert by_id(database.rows(QUERY)) == now


def test_every_mode_is_registered_and_says_what_it_does() -> None:
    assert set(MODES) == set(Mode)
    assert DEFAULT in MODES.values()
    for name, mode in MODES.items():
        assert mode.name is name
        assert mode.summary.endswith(".")
        assert mode.description.endswith(".")
        assert not mode.set_back & mode.by_policy
        assert not {RowClass.LOST, RowClass.NEW, RowClass.BLOCKED} & (mode.set_back | mode.by_policy)


def test_followed_tables_are_never_overwritten() -> None:
    """Nobody named them, so nothing of theirs that was written after T may be lost."""
    for mode in MODES.values():
        match mode.followed:
            case None:
                assert not mode.overwrites_newer
            case Followed() as followed:
                assert not MODES[followed.with_incident].overwrites_newer
                assert not MODES[followed.without_incident].overwrites_newer
