"""Somebody froze the database after the incident: rows come back, and it is as frozen as before."""

from __future__ import annotations

import pytest

from tests.kinds.harness import World

pytestmark = pytest.mark.kinds

FROZEN = """
select unnest(setconfig) from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase
where d.datname = current_database()
"""


@pytest.mark.parametrize("mistake", ["truncate gauges", "delete from gauges where id > 20"], ids=["whole", "by row"])
def test_a_frozen_database_gets_its_rows_back(world: World, mistake: str) -> None:
    """default_transaction_read_only stops nobody who says READ WRITE; that it is on is told."""
    world.past(
        "create table gauges (id int primary key, litres int not null)",
        "insert into gauges select g, g * 7 from generate_series(1, 55) g",
    )
    world.incident(mistake)
    left = len(world.rows("public.gauges"))
    world.good(f'alter database "{world.database.name}" set default_transaction_read_only = on')
    world.restore()
    world.as_before("public.gauges")
    assert world.look(FROZEN) == [("default_transaction_read_only=on",)]
    world.said("default_transaction_read_only")
    world.counts("public.gauges", back=55 - left)
