"""Random small worlds: a schema, rows, an incident among good writes, and what must be there after each mode.

The oracle knows rows as Python tuples and who wrote each one last by the column `w`, which every writer sets. It shares
nothing with the product: no transaction ids, no checksums, no staging.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from recovery.model.modes.reload_mode import Mode

KEYS: dict[str, tuple[str, Callable[[int], tuple[Any, ...]]]] = {
    "int": ("id int", lambda n: (n,)),
    "bigint": ("id bigint", lambda n: (n * 1_000_003,)),
    "uuid": ("id uuid", lambda n: (f"{n:08d}-0000-4000-8000-{n * 7919:012d}",)),
    "text": ("id text", lambda n: (f"키 {n}'\"\\",)),
    "composite": ('id int, "b;" text', lambda n: (n % 5, f"b{n}")),
}
KEY_COLUMNS = {"composite": ("id", '"b;"')}

Row = tuple[Any, ...]


@dataclass(frozen=True)
class World:
    """What to build and what to do to it. Numbers name rows; what does not exist is passed over."""

    key: str
    action: str
    unique: bool
    parents: int
    children: dict[int, int | None]
    friends: dict[int, int]
    good_before: tuple[tuple[str, int], ...]
    good_during: bool
    bad: str
    bad_modulo: int
    good_after: tuple[tuple[str, int], ...]
    mode: Mode
    lineage: bool
    paced: bool
    split: bool
    loose_check: bool
    savepoint: bool
    named: bool
    published: int

    @property
    def child_key(self) -> int:
        """How many of the child's first columns tell its rows apart: its region as well where it is partitioned."""
        return 2 if self.split else 1

    @property
    def subscribed(self) -> bool:
        """Whether somebody follows. No subscriber of PostgreSQL's truncates what a partition references."""
        return self.published == 0 and not (self.split and self.bad == "truncate")

    @property
    def checked(self) -> bool:
        """Whether a NOT VALID check stands beside offenders. The server asks it of every UPDATE, SET NULL's too."""
        return self.loose_check and self.action != "set null"

    @property
    def key_columns(self) -> tuple[str, ...]:
        return KEY_COLUMNS.get(self.key, ("id",))

    def key_of(self, n: int) -> Row:
        return KEYS[self.key][1](n)


def worlds() -> st.SearchStrategy[World]:
    """All of it."""
    numbers = st.integers(0, 11)
    works = ["update", "insert", "delete", "reinsert", "child", "child-update", "child-delete", "child-move", "loose"]
    good_before = st.tuples(st.sampled_from(works), numbers)
    # Before the incident it would make a conflict of the row, or not, by how many of them there are: tests/unit.
    good = st.tuples(st.sampled_from([*works, "rename"]), numbers)
    return st.builds(
        World,
        key=st.sampled_from(sorted(KEYS)),
        action=st.sampled_from(["cascade", "set null", "no action"]),
        unique=st.booleans(),
        parents=st.integers(0, 12),
        children=st.dictionaries(st.integers(0, 25), st.none() | numbers, max_size=20),
        friends=st.dictionaries(numbers, numbers, max_size=6),
        good_before=st.lists(good_before, max_size=4).map(tuple),
        good_during=st.booleans(),
        bad=st.sampled_from(
            [
                "delete",
                "delete-children",
                "truncate",
                "update",
                "update-each",
                "update-codes",
                "update-children",
                "update-loose",
                "delete-loose",
            ]
        ),
        bad_modulo=st.integers(1, 4),
        good_after=st.lists(good, max_size=6).map(tuple),
        mode=st.sampled_from([mode for mode in Mode if mode is not Mode.RECREATE]),  # which compares no rows
        lineage=st.booleans(),
        paced=st.booleans(),
        split=st.booleans(),
        loose_check=st.booleans(),
        savepoint=st.booleans(),
        named=st.booleans(),
        published=st.integers(0, 11),
    )


def schema(world: World) -> list[str]:
    columns, keys = KEYS[world.key][0], ", ".join(world.key_columns)
    types = [part.rsplit(" ", 1)[1] for part in str(columns).split(", ")]
    refs = ", ".join(f"p{i} {kind}" for i, kind in enumerate(types))
    names = ", ".join(f"p{i}" for i in range(len(types)))
    friends = ", ".join(f"f{i} {kind}" for i, kind in enumerate(types))
    friend_names = ", ".join(f"f{i}" for i in range(len(types)))
    unique = "unique" if world.unique else ""
    child = (
        f'create table "Child; --" (n int, region text, {refs}, "t" text, w text not null, foreign key ({names})'
        f" references parent ({keys}) on delete {world.action}, primary key (n{', region' * world.split}))"
    )
    if world.split:
        child = child.replace("(n int,", "(n int default nextval('child_n'),") + " partition by list (region)"
    return [
        f"create table parent ({columns}, name text, code text {unique}, val numeric, {friends}, w text not null,"
        f" primary key ({keys}))",
        f"alter table parent add foreign key ({friend_names}) references parent ({keys}) on delete set null",
        "create sequence child_n",
        child,
        *PARTITIONS * world.split,
        "create table loose (a int, b text)",
        "alter table loose replica identity full",
        # What cascades do is the incident's as well.
        "create function mark() returns trigger language plpgsql as"
        " $$ begin if current_setting('world.incident', true) = 'on' then new.w := 'bad'; end if; return new; end $$",
        "create trigger mark before update on parent for each row execute function mark()",
        'create trigger mark before update on "Child; --" for each row execute function mark()',
    ]


PARTITIONS = (
    """create table child_a partition of "Child; --" for values in ('a')""",
    'create table child_rest partition of "Child; --" default',
)
LOOSE_CHECK = """alter table "Child; --" add constraint no_threes check ("t" !~ '3') not valid"""


@dataclass
class State:
    """Rows of the two keyed tables by key, and the loose rows."""

    parent: dict[Row, Row] = field(default_factory=dict)
    child: dict[Row, Row] = field(default_factory=dict)
    loose: list[Row] = field(default_factory=list)


def expected(world: World, then: State, now: State) -> State:
    """What must be there after the repair. Rows that may not be written stay away, with all that hangs on them."""
    width, at = len(world.key_columns), world.child_key
    want_parents, want_children = _wanted(world.mode, then.parent, now.parent), _wanted_children(world, then, now)
    drop_parents = set(now.parent) - set(then.parent) if world.mode is Mode.REPLACE else set()
    drop_children = set(now.child) - set(then.child) if world.mode is Mode.REPLACE and not world.named else set()
    reused = {
        key
        for key in then.parent.keys() & now.parent.keys()
        if str(now.parent[key][width + 1]).startswith("another") and key not in want_parents
    }
    changed = True
    while changed:
        changed = False
        parents = {k: r for k, r in now.parent.items() if k not in drop_parents} | want_parents
        children = {k: r for k, r in now.child.items() if k not in drop_children} | want_children
        for key, row in list(want_children.items()):
            link = row[2 : 2 + width]
            orphan = None not in link and link not in parents
            # a subscriber has the check too, and nobody lifts it there; nor an inherited one
            stays = world.checked and (world.subscribed or world.split)
            refused = stays and "3" in (row[2 + width] or "")
            if orphan or refused or (link in reused and key not in now.child):
                del want_children[key]
                changed = True
        for key, row in list(want_parents.items()):
            link = row[width + 3 : 2 * width + 3]
            orphan = None not in link and link not in parents
            taken = (
                world.unique
                and row[width + 1] is not None
                and any(
                    other != key and r[width + 1] == row[width + 1]
                    for other, r in parents.items()
                    if other not in want_parents
                )
            )
            if orphan or taken or (link in reused and key not in now.parent):
                del want_parents[key]
                changed = True
        for key in list(drop_parents):
            if _referenced(key, width, parents, children):
                drop_parents.discard(key)
                changed = True
    assert all(len(key) == at for key in children)
    return State(parents, children, _loose(world, then.loose, now.loose))


def _wanted(mode: Mode, then: dict[Row, Row], now: dict[Row, Row]) -> dict[Row, Row]:
    wanted = {key: row for key, row in then.items() if key not in now}
    if mode is Mode.REPAIR:
        wanted |= {k: r for k, r in then.items() if k in now and now[k] != r and now[k][-1] == "bad"}
    if mode is Mode.REPLACE:
        wanted |= {k: r for k, r in then.items() if k in now and now[k] != r}
    return wanted


def _wanted_children(world: World, then: State, now: State) -> dict[Row, Row]:
    """A row that moved to another partition is not put back beside itself, but by a replacement. Where only the parents
    are named, the children of lost ones alone, and nobody asked for those to be replaced."""
    followed = world.mode if not (world.named and world.mode is Mode.REPLACE) else Mode.MISSING
    wanted = _wanted(followed, then.child, now.child)
    if followed is not Mode.REPLACE:
        numbers = {key[0] for key in now.child}
        wanted = {key: row for key, row in wanted.items() if key in now.child or key[0] not in numbers}
    if world.named:
        lost, width = then.parent.keys() - now.parent.keys(), len(world.key_columns)
        wanted = {key: row for key, row in wanted.items() if row[2 : 2 + width] in lost}
    return wanted


def _loose(world: World, then: list[Row], now: list[Row]) -> list[Row]:
    """Without a key, rows written since T may be versions of lost ones: lost ones come back only where there are none,
    or where the incident wrote them all and is to be taken back, or where everything new leaves."""
    new = Counter(now) - Counter(then)
    taken_back = world.mode is Mode.REPAIR and world.lineage and all(row[1] == "bad" for row in new)
    exact = taken_back or world.mode is Mode.REPLACE
    return now if world.named or (new and not exact) else then


def _referenced(key: Row, width: int, parents: dict[Row, Row], children: dict[Row, Row]) -> bool:
    return any(row[2 : 2 + width] == key for row in children.values()) or any(
        row[width + 3 : 2 * width + 3] == key for row in parents.values()
    )
