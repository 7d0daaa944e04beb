"""Random small worlds: a schema, rows, an incident among good writes, and what must be there after each mode.

The oracle knows rows as Python tuples and who wrote each one last by the column `w`, which every writer sets. It shares
nothing with the product: no transaction ids, no checksums, no staging.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from recovery.model.repair import Mode

KEYS = {
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

    @property
    def key_columns(self) -> tuple[str, ...]:
        return KEY_COLUMNS.get(self.key, ("id",))

    def key_of(self, n: int) -> Row:
        return KEYS[self.key][1](n)  # type: ignore[no-any-return, operator]


def worlds() -> st.SearchStrategy[World]:
    """All of it."""
    numbers = st.integers(0, 11)
    good = st.tuples(
        st.sampled_from(
            ["update", "rename", "insert", "delete", "reinsert", "child", "child-update", "child-delete"]
        ), numbers,
    )  # fmt: skip
    return st.builds(
        World,
        key=st.sampled_from(sorted(KEYS)),
        action=st.sampled_from(["cascade", "set null", "no action"]),
        unique=st.booleans(),
        parents=st.integers(0, 12),
        children=st.dictionaries(st.integers(0, 25), st.none() | numbers, max_size=20),
        friends=st.dictionaries(numbers, numbers, max_size=6),
        good_before=st.lists(good, max_size=4).map(tuple),
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
            ]
        ),
        bad_modulo=st.integers(1, 4),
        good_after=st.lists(good, max_size=6).map(tuple),
        mode=st.sampled_from(list(Mode)),
        lineage=st.booleans(),
        paced=st.booleans(),
    )


def schema(world: World) -> list[str]:
    columns, keys = KEYS[world.key][0], ", ".join(world.key_columns)
    types = [part.rsplit(" ", 1)[1] for part in str(columns).split(", ")]
    refs = ", ".join(f"p{i} {kind}" for i, kind in enumerate(types))
    names = ", ".join(f"p{i}" for i in range(len(types)))
    friends = ", ".join(f"f{i} {kind}" for i, kind in enumerate(types))
    friend_names = ", ".join(f"f{i}" for i in range(len(types)))
    unique = "unique" if world.unique else ""
    return [
        f"create table parent ({columns}, name text, code text {unique}, val numeric, {friends}, w text not null,"
        f" primary key ({keys}))",
        f"alter table parent add foreign key ({friend_names}) references parent ({keys}) on delete set null",
        f'create table "Child; --" (n int primary key, {refs}, "t" text, w text not null, foreign key ({names})'
        f" references parent ({keys}) on delete {world.action})",
        "create table loose (a int, b text)",
        # What cascades do is the incident's as well.
        "create function mark() returns trigger language plpgsql as"
        " $$ begin if current_setting('world.incident', true) = 'on' then new.w := 'bad'; end if; return new; end $$",
        "create trigger mark before update on parent for each row execute function mark()",
        'create trigger mark before update on "Child; --" for each row execute function mark()',
    ]


@dataclass
class State:
    """Rows of the two keyed tables by key, and the loose rows."""

    parent: dict[Row, Row] = field(default_factory=dict)
    child: dict[Row, Row] = field(default_factory=dict)
    loose: list[Row] = field(default_factory=list)


def expected(world: World, then: State, now: State) -> State:
    """What must be there after the repair. Rows that may not be written stay away, with all that hangs on them."""
    width = len(world.key_columns)
    parents, children = dict(now.parent), dict(now.child)
    want_parents, want_children = _wanted(world, then.parent, now.parent), _wanted(world, then.child, now.child)
    drop_parents = set(now.parent) - set(then.parent) if world.mode is Mode.REPLACE else set()
    drop_children = set(now.child) - set(then.child) if world.mode is Mode.REPLACE else set()
    reused = {
        key for key in then.parent.keys() & now.parent.keys()
        if str(now.parent[key][width + 1]).startswith("another") and key not in want_parents
    }  # fmt: skip
    changed = True
    while changed:
        changed = False
        parents = {k: r for k, r in now.parent.items() if k not in drop_parents} | want_parents
        children = {k: r for k, r in now.child.items() if k not in drop_children} | want_children
        for key, row in list(want_children.items()):
            link = row[1 : 1 + width]
            orphan = None not in link and link not in parents
            if orphan or (link in reused and key not in now.child):
                del want_children[key]
                changed = True
        for key, row in list(want_parents.items()):
            link = row[width + 3 : 2 * width + 3]
            orphan = None not in link and link not in parents
            taken = world.unique and row[width + 1] is not None and any(
                other != key and r[width + 1] == row[width + 1]
                for other, r in parents.items() if other not in want_parents
            )  # fmt: skip
            if orphan or taken or (link in reused and key not in now.parent):
                del want_parents[key]
                changed = True
        for key in list(drop_parents):
            if _referenced(key, width, parents, children):
                drop_parents.discard(key)
                changed = True
    return State(parents, children, now.loose)


def _wanted(world: World, then: dict[Row, Row], now: dict[Row, Row]) -> dict[Row, Row]:
    wanted = {key: row for key, row in then.items() if key not in now}
    if world.mode is Mode.REPAIR:
        wanted |= {k: r for k, r in then.items() if k in now and now[k] != r and now[k][-1] == "bad"}
    if world.mode is Mode.REPLACE:
        wanted |= {k: r for k, r in then.items() if k in now and now[k] != r}
    return wanted


def _referenced(key: Row, width: int, parents: dict[Row, Row], children: dict[Row, Row]) -> bool:
    return any(row[1 : 1 + width] == key for row in children.values()) or any(
        row[width + 3 : 2 * width + 3] == key for row in parents.values()
    )
