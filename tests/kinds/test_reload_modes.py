"""The contract of the reload modes through the whole command line: rows as declared, in place or beside."""

from __future__ import annotations

import pytest

from recovery.model.modes import MODES
from recovery.model.modes.reload_mode import IncidentNeed, ReloadMode
from tests.contract.reload_mode_oracle import GOOD, INCIDENT, PAST, QUERY, TABLE, by_id, expected
from tests.kinds.harness import NOTHING, World

pytestmark = pytest.mark.kinds


@pytest.mark.parametrize("mode", [pytest.param(mode, id=name.value) for name, mode in MODES.items()])
def test_rows_are_as_the_mode_declares(world: World, mode: ReloadMode) -> None:
    world.past(*PAST)
    then = by_id(world.look(QUERY))
    xid = world.incident(*INCIDENT)
    world.good(*GOOD)
    now = by_id(world.look(QUERY))
    options = ["--mode", mode.name.value]
    if mode.in_place:
        options += ["--incident-xid", str(xid)] if mode.incident is IncidentNeed.REQUIRED else []
    if mode.overwrites_newer:
        lost = sum(now.get(id) != then.get(id) for id in now)
        options += ["--confirm-loss", str(lost)]
    world.restore(*options, code=NOTHING if mode.anew else (0, 47))
    if mode.anew:  # rows were lost, and no table
        assert by_id(world.look(QUERY)) == now
    elif mode.in_place:
        assert by_id(world.look(QUERY)) == expected(mode, then, now)
    else:
        assert by_id(world.look(QUERY)) == now
        schema = f"recovered_{world.case.replace('-', '_')}"
        assert by_id(world.look(f'select * from "{schema}".{TABLE} order by 1')) == then
