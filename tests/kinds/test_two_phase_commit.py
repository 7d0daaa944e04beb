"""Two-phase commit on the original: the copy needs a parameter group of its own, and that is said before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runbooks.lab.lab_server import Lab
from runbooks.lab.lab_state import Parameters
from tests.fix_cli import Ran
from tests.fix_lab import Live, end_instance
from tests.kinds.harness import World

pytestmark = pytest.mark.kinds

GROUP, INSTANCE = "two-phase", "live-two-phase"
INSTANCE_UNSUITABLE = 17
DEADLINE_S = 240
BANK = """
create table accounts (id int primary key, cents int not null);
insert into accounts select g, 500 from generate_series(1, 40) g;
create table bookings (id int primary key, body text not null);
insert into bookings select g, 'booking ' || g from generate_series(1, 30) g;
"""
MOVE = ("update accounts set cents = 750 where id <= 8", "insert into accounts values (88, 9)")
PREPARE, COMMIT = "prepare transaction 'move_in_doubt'", "commit prepared 'move_in_doubt'"
LOCK = "lock table accounts in access exclusive mode"
MISTAKE = ("delete from accounts where id between 15 and 27", "delete from bookings where id <= 6")
MOVED = [*((n, 750) for n in range(1, 9)), *((n, 500) for n in range(9, 41)), (88, 9)]


@pytest.fixture(scope="module")
def live(lab_of_a_version: Lab) -> Iterator[Live]:
    """An instance whose group lets five transactions be prepared."""
    lab = lab_of_a_version
    family = f"postgres{lab.engine.tools.major}"
    lab.engine.parameters[GROUP] = Parameters(GROUP, family, "two-phase commit", {"max_prepared_transactions": "5"})
    yield Live(lab, INSTANCE, lab.create_instance(INSTANCE, DBParameterGroupName=GROUP, PubliclyAccessible=False))
    end_instance(lab, INSTANCE, GROUP)


def is_told(world: World, ran: Ran) -> None:
    assert "max_prepared_transactions" in ran.out + ran.err
    assert "--copy-parameter-group" in ran.out + ran.err
    world.no_copy_was_made()


def test_that_the_copy_would_not_start_is_said_before_it_is_made(world: World) -> None:
    """plan, restore and doctor know it, and name the option."""
    world.past(BANK)
    world.incident(*MISTAKE)
    for arguments in (["plan", *world.at()], world.arguments()):
        ran = world.run(*arguments)
        assert ran.code == INSTANCE_UNSUITABLE, ran.out + ran.err
        assert "error[instance-unsuitable]: " in ran.err
        is_told(world, ran)
    is_told(world, world.run("doctor", world.cli.live.identifier, "--database", world.database.name))


@pytest.mark.parametrize("pending", [True, False], ids=["pending at T", "committed before T"])
def test_with_a_group_of_its_own_the_copy_starts(world: World, pending: bool) -> None:
    """Lost rows are back, and work that was committed after T is kept."""
    world.past(BANK, and_then=["begin", *MOVE, PREPARE, *([] if pending else [COMMIT])])
    if pending:
        world.database.run(COMMIT)
    world.incident(*MISTAKE)
    world.restore("--copy-parameter-group", GROUP)
    world.holds("public.accounts", MOVED)
    world.as_before("public.bookings")
    assert world.look("select count(*) from pg_prepared_xacts") == [(0,)]
    world.counts("public.accounts", back=13)
    world.counts("public.bookings", back=6)


def test_a_lock_that_a_prepared_transaction_holds_in_the_copy(world: World) -> None:
    """The copy holds the lock still: the rows are back all the same, or it is said who holds it. Nothing waits on."""
    world.past(BANK, and_then=["begin", *MOVE, LOCK, PREPARE])
    world.database.run(COMMIT)
    world.incident(*MISTAKE)
    process = world.cli.start(*world.arguments("--copy-parameter-group", GROUP))
    try:
        out, err = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    world.ran = Ran(process.returncode, out, err)
    if process.returncode == 0:
        world.holds("public.accounts", MOVED)
        world.as_before("public.bookings")
    else:
        assert "move_in_doubt" in err, out + err
        assert "public.accounts" in err
        assert "  help: " in err


def test_a_prepared_transaction_that_keeps_the_load_waiting_is_named(world: World) -> None:
    """It belongs to no session that could be ended: what is printed ends it, and the load goes on."""
    world.past(BANK)
    world.incident(*MISTAKE)
    world.database.run("begin", "update accounts set cents = 1 where id = 40", "prepare transaction 'left ''open'''")
    process = world.cli.start(*world.arguments("--copy-parameter-group", GROUP))
    assert process.stderr
    waiting = next((line for line in process.stderr if "waiting for a lock: prepared transaction" in line), "")
    statement = waiting.partition("; to end it: ")[2].strip()
    assert statement == "rollback prepared 'left ''open'''", waiting
    world.database.run(statement)
    out, err = process.communicate(timeout=DEADLINE_S)
    world.ran = Ran(process.returncode, out, err)
    assert process.returncode == 0, out + err
    world.as_before("public.accounts", "public.bookings")
