"""Scope: what was named, what a cascade emptied with it, the empty parents; and the order to load it in."""

from __future__ import annotations

import pytest

from recovery.compare.scope import ScopeRequest, choose_scope, match_tables
from recovery.errors import RowbackError
from recovery.model.catalog import Catalog, ForeignKey, Partitioned, Table, Trigger
from recovery.model.load_order import load_order
from recovery.model.recovery_plan import ForeignKeyMode, Why
from recovery.model.values import TableName


def name(text: str) -> TableName:
    schema, _, table = text.partition(".")
    return TableName(schema_name=schema, name=table)


def table(text: str, **changes: object) -> Table:
    made = Table(
        name=name(text),
        oid=1,
        columns=(),
        bytes=8192,
        unlogged=False,
        row_security=False,
        owned=True,
        readable=True,
        insertable=True,
    )
    return made.model_copy(update=changes)


def key(child: str, parent: str, *, deferrable: bool = False, holders: tuple[str, ...] = ()) -> ForeignKey:
    return ForeignKey(
        name=f"{child}_{parent}_fkey",
        child=name(child),
        columns=("x",),
        parent=name(parent),
        parent_tables=tuple(map(name, holders or (parent,))),
        parent_columns=("x",),
        operators=(("pg_catalog", "="),),
        deferrable=deferrable,
    )


def catalog(*tables: Table | str, keys: tuple[ForeignKey, ...] = (), parts: tuple[Partitioned, ...] = ()) -> Catalog:
    made = tuple(table(t) if isinstance(t, str) else t for t in tables)
    return Catalog(tables=made, partitioned=parts, foreign_keys=keys, sequences=())


CHAIN = catalog(
    "s.spaces",
    "s.articles",
    "s.revisions",
    "s.members",
    "o.log",
    keys=(key("s.articles", "s.spaces"), key("s.revisions", "s.articles"), key("s.spaces", "s.members")),
)


def test_naming_one_table_adds_children_of_the_cascade_and_empty_parents() -> None:
    scope = choose_scope(CHAIN, set(), ScopeRequest(tables=["s.articles"]))
    assert {str(n): t.why for n, t in scope.chosen.items()} == {
        "s.articles": Why.NAMED,
        "s.revisions": Why.EMPTIED_BY_CASCADE,
        "s.spaces": Why.NEEDED_PARENT,
        "s.members": Why.NEEDED_PARENT,
    }
    assert scope.chosen[name("s.revisions")].because == "s.revisions_s.articles_fkey references s.articles"


def test_what_hangs_together_with_an_empty_table_and_holds_rows_is_followed() -> None:
    scope = choose_scope(CHAIN, {name("s.spaces"), name("s.revisions")}, ScopeRequest(tables=["articles"]))
    assert {str(n): (t.why, t.empty) for n, t in scope.chosen.items()} == {
        "s.articles": (Why.NAMED, True),
        "s.revisions": (Why.FOLLOWED, False),
        "s.spaces": (Why.FOLLOWED, False),
        "s.members": (Why.FOLLOWED, True),
    }
    assert scope.left_out == []


def test_a_named_table_with_rows_is_compared_and_its_neighbours_followed() -> None:
    scope = choose_scope(CHAIN, {name("s.articles"), name("s.spaces")}, ScopeRequest(tables=["s.articles"]))
    assert {str(n): (t.why, t.empty) for n, t in scope.chosen.items()} == {
        "s.articles": (Why.NAMED, False),
        "s.revisions": (Why.FOLLOWED, True),
        "s.spaces": (Why.FOLLOWED, False),
        "s.members": (Why.FOLLOWED, True),
    }


def test_followed_tables_that_this_role_may_not_write_are_told_and_left() -> None:
    found = catalog(table("s.a"), table("s.b", insertable=False), keys=(key("s.a", "s.b"),))
    scope = choose_scope(found, {name("s.a"), name("s.b")}, ScopeRequest(tables=["s.a"]))
    assert set(scope.chosen) == {name("s.a")}
    assert [(str(out.name), out.reason) for out in scope.left_out] == [
        ("s.b", "this role may not write to it: no INSERT privilege, though s.a references it (s.a_s.b_fkey)")
    ]


def test_the_whole_database_without_what_is_excepted() -> None:
    scope = choose_scope(CHAIN, {name("o.log"), name("s.members")}, ScopeRequest(leave_out=["o.*"]))
    assert {str(n): t.empty for n, t in scope.chosen.items()} == {
        "s.spaces": True,
        "s.articles": True,
        "s.revisions": True,
        "s.members": False,
    }
    assert [str(out.name) for out in scope.left_out] == ["o.log"]


def test_an_excepted_table_is_not_brought_back_by_the_closure() -> None:
    scope = choose_scope(CHAIN, set(), ScopeRequest(tables=["s.spaces"], leave_out=["s.revisions"]))
    assert name("s.revisions") not in scope.chosen


def test_unlogged_tables_are_in_no_backup() -> None:
    """One that is unlogged now may have been logged at T: of a whole database the copy has the word."""
    found = catalog(table("s.a", unlogged=True), "s.b")
    assert {str(name) for name in choose_scope(found, set(), ScopeRequest()).chosen} == {"s.a", "s.b"}
    with pytest.raises(RowbackError) as refused:
        choose_scope(found, set(), ScopeRequest(tables=["s.a"]))
    assert refused.value.fact == "table s.a cannot be put back: it is unlogged, so no backup holds its rows"


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"row_security": True}, "row security hides rows of s.a from this role"),
        ({"readable": False}, "this role may not read s.a"),
        ({"insertable": False}, "this role may not put rows back into s.a: no INSERT privilege"),
        (
            {"owned": False, "triggers": (Trigger(table=name("s.a"), name="t", state="O"),)},
            "this role may not put rows back into s.a: it has triggers that only its owner may hold back",
        ),
    ],
)
def test_what_this_role_cannot_do_is_refused_at_plan_time(changes: dict[str, object], fact: str) -> None:
    with pytest.raises(RowbackError) as refused:
        choose_scope(catalog(table("s.a", **changes)), set(), ScopeRequest(tables=("s.a",)))
    assert refused.value.fact == fact


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"row_security": True}, "row security hides its rows from this role"),
        ({"readable": False}, "this role may not read it"),
        ({"insertable": False}, "this role may not write to it: no INSERT privilege"),
    ],
)
def test_of_a_whole_database_one_table_is_left_out_and_told(changes: dict[str, object], reason: str) -> None:
    scope = choose_scope(catalog(table("s.a", **changes), "s.b"), set(), ScopeRequest())
    assert [str(name) for name in scope.chosen] == ["s.b"]
    assert [(str(out.name), out.reason, out.hit) for out in scope.left_out] == [("s.a", reason, True)]


WEIRD = catalog("public.Weird Name; --", 'a.quo"te', "a.same", "b.same")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('public."Weird Name; --"', ["public.Weird Name; --"]),
        ("public.Weird Name; --", ["public.Weird Name; --"]),
        ("Weird Name; --", ["public.Weird Name; --"]),
        ('a."quo""te"', ['a.quo"te']),
        ("a.*", ['a.quo"te', "a.same"]),
        ("*.same", ["a.same", "b.same"]),
    ],
)
def test_how_a_table_may_be_spelled(text: str, expected: list[str]) -> None:
    assert [".".join(found.key) for found in match_tables(text, WEIRD)] == expected


def test_unknown_and_ambiguous_names() -> None:
    with pytest.raises(RowbackError) as unknown:
        match_tables("a.sam", WEIRD)
    assert unknown.value.facts == ("nearest names: a.same, b.same, same",)
    with pytest.raises(RowbackError) as ambiguous:
        match_tables("same", WEIRD)
    assert ambiguous.value.facts == ("it could be a.same or b.same",)


def test_a_partitioned_table_stands_for_its_leaves() -> None:
    parts = (Partitioned(name=name("s.log"), leaves=(name("s.log_1"), name("s.log_2"))),)
    found = catalog(
        "s.log_1", "s.log_2", "s.child", keys=(key("s.child", "s.log", holders=("s.log_1", "s.log_2")),), parts=parts
    )
    assert set(choose_scope(found, set(), ScopeRequest(tables=["s.log"])).chosen) == {
        name("s.log_1"),
        name("s.log_2"),
        name("s.child"),
    }
    order, mode = load_order(found_names(found), found)
    assert order[-1] == name("s.child")
    assert mode is ForeignKeyMode.ORDERED


def found_names(found: Catalog) -> list[TableName]:
    return [t.name for t in found.tables]


def test_parents_load_before_children_and_self_references_do_not_matter() -> None:
    found = catalog("s.a", "s.b", "s.c", keys=(key("s.a", "s.b"), key("s.b", "s.c"), key("s.c", "s.c")))
    assert load_order(found_names(found), found) == (
        [name("s.c"), name("s.b"), name("s.a")],
        ForeignKeyMode.ORDERED,
    )


def test_a_cycle_is_deferred_if_it_can_be_and_needs_replica_mode_if_not() -> None:
    soft = catalog("s.a", "s.b", keys=(key("s.a", "s.b"), key("s.b", "s.a", deferrable=True)))
    assert load_order(found_names(soft), soft) == ([name("s.b"), name("s.a")], ForeignKeyMode.DEFERRED)
    hard = catalog("s.a", "s.b", keys=(key("s.a", "s.b"), key("s.b", "s.a")))
    assert load_order(found_names(hard), hard)[1] is ForeignKeyMode.REPLICA


def test_inheritance_children_are_emptied_with_their_parent() -> None:
    found = catalog(
        "s.m", table("s.child", inherits=(name("s.m"),)), table("s.grandchild", inherits=(name("s.child"),))
    )
    scope = choose_scope(found, set(), ScopeRequest(tables=["s.m"]))
    assert {str(n): t.because for n, t in scope.chosen.items()} == {
        "s.m": "s.m",
        "s.child": "it inherits from s.m",
        "s.grandchild": "it inherits from s.child",
    }


def test_rows_that_this_role_cannot_see_are_left_out_of_the_closure_and_told() -> None:
    found = catalog(
        "s.a",
        table("s.b", row_security=True),
        table("s.c", readable=False),
        keys=(key("s.b", "s.a"), key("s.c", "s.a")),
    )
    scope = choose_scope(found, set(), ScopeRequest(tables=["s.a"]))
    assert set(scope.chosen) == {name("s.a")}
    assert [out.reason for out in scope.left_out] == [
        "row security hides its rows from this role, though s.b_s.a_fkey references s.a",
        "this role may not read it, though s.c_s.a_fkey references s.a",
    ]


def test_a_parent_that_belongs_to_an_extension_stays_with_it() -> None:
    found = catalog("s.a", keys=(key("s.a", "postgis.spatial_ref_sys"),))
    assert set(choose_scope(found, set(), ScopeRequest()).chosen) == {name("s.a")}
