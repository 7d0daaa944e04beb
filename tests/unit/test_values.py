"""Names are quoted where PostgreSQL would need it; plans are bound by their digest; drift is named."""

from __future__ import annotations

import pytest

from recovery.changeset.column_mapping import map_table
from recovery.incident.log_record import LogRecord
from recovery.incident.statement_retention import Keeper
from recovery.incident.statement_sighting import Sighting
from recovery.model.catalog import Column, Table
from recovery.model.values import TableName, Value, digest_of, leading_name, name_parts
from recovery.postgres.bounded_statement import identifier


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("articles", "s.articles"),
        ("Articles", 's."Articles"'),
        ("Weird Name; --", 's."Weird Name; --"'),
        ('quo"te', 's."quo""te"'),
        ("한글", 's."한글"'),
    ],
)
def test_names_are_shown_as_they_must_be_typed(name: str, shown: str) -> None:
    assert str(TableName(schema_name="s", name=name)) == shown


@pytest.mark.parametrize(
    "name", ["t", "Weird Name; --", "a: column b", 'quo"te: x', "dots.and: colons", "two\nlines: x"]
)
def test_the_table_that_a_line_is_about_is_read_as_it_was_written(name: str) -> None:
    table = TableName(schema_name="Odd: schema", name=name)
    for text in ("column motto was dropped", 'public.t: "x": y', ""):
        assert leading_name(f"{table}: {text}") == str(table)
    assert leading_name(f"{table} was dropped since T: its 3 rows are not back") == ""


def test_the_digest_follows_every_field_but_those_left_out() -> None:
    class Pair(Value):
        a: int
        b: int

    one, two = Pair(a=1, b=2), Pair(a=1, b=3)
    assert digest_of(one) != digest_of(two)
    assert digest_of(one, without=frozenset({"b"})) == digest_of(two, without=frozenset({"b"}))


def column(name: str, type_name: str = "integer", *, generated: bool = False) -> Column:
    return Column(
        name=name, type_name=type_name, type_oid=23, base_type=type_name, generated=generated, value_type=type_name
    )


def table(*columns: Column, unlogged: bool = False) -> Table:
    return Table(
        name=TableName(schema_name="s", name="t"),
        oid=1,
        columns=columns,
        bytes=0,
        unlogged=unlogged,
        row_security=False,
        owned=True,
        readable=True,
        insertable=True,
    )


@pytest.mark.parametrize(
    ("then", "now", "notes", "objections"),
    [
        (table(column("a"), column("b")), table(column("b"), column("a")), (), ()),
        (table(column("a")), table(), ("column a was dropped since T: its values stay behind",), ()),
        (table(), table(column("a")), ("column a was added since T: rows put back hold null there",), ()),
        (table(column("a", "integer")), table(column("a", "bigint")), ("column a was integer, is bigint",), ()),
        (table(column("a", "bigint")), table(column("a", "integer")), ("column a was bigint, is integer",), ()),
        (table(column("a")), table(column("a", generated=True)), ("column a is generated now",), ()),
        (table(column("a", generated=True)), table(column("a")), ("column a is a plain column now",), ()),
        (table(unlogged=True), table(), (), ("it was unlogged at T, so no backup holds its rows",)),
    ],
)
def test_drift_is_named_column_by_column(
    then: Table, now: Table, notes: tuple[str, ...], objections: tuple[str, ...]
) -> None:
    found = map_table(then, now.model_copy(update={"oid": 2}))
    assert (found.notes, found.objections) == (notes, objections)
    assert found.alike is (not notes and not objections)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("articles", ("articles",)),
        ("content.articles", ("content", "articles")),
        ('"Sales.2026"."a ""b"""', ("Sales.2026", 'a "b"')),
        ("Weird Name; --", ("Weird Name; --",)),
        ('Ord.er ;"x', ('Ord.er ;"x',)),
        (".", (".",)),
    ],
)
def test_names_as_people_write_them(text: str, parts: tuple[str, ...]) -> None:
    assert name_parts(text) == parts
    assert identifier(text) == ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def test_a_write_is_kept_for_the_table_that_was_named_whatever_its_quotes() -> None:
    record = LogRecord(0.0, True, "7", 7, "ann", "docs", "", "psql", "LOG", "")
    write = Sighting('update "Big.Name ""x""" set a = 1 where id = 3', record, 0.0)
    assert Keeper('public."Big.Name ""x"""')(write)
    assert not Keeper("public.other")(write)
