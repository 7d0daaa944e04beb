"""Every statement of the corpus is of the class that stands in front of it, however it is dressed up."""

from __future__ import annotations

import random
import string
import sys
from types import FrameType
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.statements import Danger, Reach, classify
from guards.statements.classify_sql import walked_through
from guards.statements.placeholders import as_the_server_sees_it
from tests.fix_lab import Database
from tests.guards.fix_corpus import CORPUS

CORES = [text for danger, text in CORPUS if danger in ("destructive", "catastrophic")]
SINGLE = [text for text in CORES if ";" not in text and not text.startswith(("--", "DO", "/*"))]


def test_the_corpus_is_large_and_says_nothing_twice() -> None:
    assert len(CORPUS) >= 300
    assert len({text for _, text in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize(("danger", "text"), CORPUS, ids=[text[:60] or "nothing" for _, text in CORPUS])
def test_corpus(danger: str, text: str) -> None:
    found = classify(text)
    assert str(found.danger) == danger, [str(finding) for finding in found.findings]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("TRUNCATE a, s.b CASCADE", ["TRUNCATE a, s.b CASCADE"]),
        ("DELETE FROM a; UPDATE b SET x = 1", ["DELETE a (without WHERE)", "UPDATE b (without WHERE)"]),
        ("DELETE FROM a WHERE 1 = 1", ["DELETE a (its WHERE lets every row pass)"]),
        ("DROP SCHEMA public CASCADE", ["DROP SCHEMA public CASCADE"]),
        ("ALTER TABLE a DROP COLUMN x", ["ALTER TABLE a (DROP COLUMN x)"]),
        ("SELECT app.purge()", ["app.purge() (its body is not seen here)"]),
        ("DO $$ BEGIN EXECUTE 'DROP ' || 'TABLE a'; END $$", ["DROP TABLE a"]),
        ("TRUN CATE", ['not understood (syntax error at or near "TRUN")']),
    ],
)
def test_what_is_told(text: str, told: list[str]) -> None:
    assert [str(finding) for finding in classify(text).worst] == told


def spaced(text: str, chance: random.Random) -> str:
    """Other white space, comments and letter cases, outside quotes."""
    out, quoted = [], False
    for letter in text:
        quoted ^= letter in "'\""
        if quoted or letter in "'\"":
            out.append(letter)
        elif letter == " ":
            out.append(chance.choice([" ", "\n", "\t", " /* select 1 */ ", " -- select 1\n", "/**/ ", "  "]))
        else:
            out.append(chance.choice([letter.upper(), letter.lower()]) if letter in string.ascii_letters else letter)
    return "".join(out)


WRAPS = [
    "{}",
    "{};",
    "select 1; {}",
    "begin; {}; commit",
    ";{}",
    "/* harmless */ {}",
    "-- harmless\n{}",
    "set search_path = public; {}",
    "create temp table zz (n int); {}",
    "select '{{}}'; {}",
    "{}; select 1",
]


@given(core=st.sampled_from(SINGLE), wrap=st.sampled_from(WRAPS), seed=st.integers(0, 2**32))
@settings(max_examples=400, deadline=None, derandomize=True, database=None)
def test_dressing_up_changes_nothing(core: str, wrap: str, seed: int) -> None:
    dressed = wrap.format(core)
    if "$" not in core and "%" not in core and "U&" not in core and "\\" not in core:
        dressed = spaced(dressed, random.Random(seed))  # noqa: S311 (no secret)
    assert classify(dressed).danger >= classify(core).danger >= Danger.DESTRUCTIVE, dressed


@given(core=st.sampled_from(SINGLE), tag=st.sampled_from(["$$", "$a$", "$rowback$"]), depth=st.integers(1, 3))
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_inside_blocks_and_dynamic_sql(core: str, tag: str, depth: int) -> None:
    text = core
    for _ in range(depth):
        quoted = text.replace("'", "''")
        text = f"do {tag} begin if now() is not null then execute '{quoted}'; end if; end {tag}"
        if tag in quoted:
            return  # the quote would end early: not the statement meant
    if "\\" not in core and "%" not in core:
        assert classify(text).danger >= Danger.DESTRUCTIVE, text


@pytest.mark.parametrize("text", [text for _, text in CORPUS], ids=[text[:60] or "nothing" for _, text in CORPUS])
def test_the_short_way_over_shapes_says_what_the_long_way_says(text: str) -> None:
    assert classify(text).danger is walked_through(text).danger
    for wrap in ("select 1; {}", "with q as (select 1) {}", "explain analyze {}", "select ({})"):
        dressed = wrap.format(text)
        assert classify(dressed).danger is walked_through(dressed).danger, dressed


@given(st.text(max_size=200))
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
def test_any_text_is_classified_and_never_raises(text: str) -> None:
    classify(text)


def test_deep_nesting_is_unknown_and_not_a_crash() -> None:
    assert classify("select " + "(" * 5000 + "1" + ")" * 5000).danger is Danger.READ
    assert classify("select " + "not " * 5000 + "true").danger is Danger.UNKNOWN
    assert classify("select " + "1 + " * 20000 + "1").danger is Danger.UNKNOWN
    text = "truncate a"
    for _ in range(14):
        quoted = text.replace("'", "''")
        text = f"do 'begin execute ''{quoted.replace(chr(39), chr(39) * 2)}''; end'"
        if len(text) > 100_000:
            break
    assert classify(text).danger >= Danger.DESTRUCTIVE


def test_the_server_agrees_that_what_reads_only_reads(database: Database) -> None:
    """In a read-only transaction the server refuses every write; it must refuse none of these."""
    database.run(
        "create table a (id int primary key, x text, code text, at timestamptz)",
        "create table b (id int primary key, a_id int)",
    )
    refused = {}
    for text in (text for danger, text in CORPUS if danger == "read" and can_be_sent(text)):
        with database.connect() as connection:
            connection.execute("set default_transaction_read_only = on")
            try:
                connection.execute(text.replace("%%", "%").encode())
            except psycopg.Error as error:
                refused[text] = error.sqlstate
    assert refused == {}


def can_be_sent(text: str) -> bool:
    """Whether it is a whole statement for a plain query: no parameters, no COPY, nothing of a temporary schema."""
    parameters = ("%s", "%(", ":id", "id = $1")
    return (
        bool(text.strip(";")) and not text.startswith("COPY") and not any(p in text for p in (*parameters, "pg_temp"))
    )


@pytest.mark.parametrize(
    ("text", "danger"),
    [
        ("explain (analyze 0) delete from a", Danger.READ),
        ("explain (analyze 1) delete from a", Danger.DESTRUCTIVE),
        ("explain (analyze) delete from a", Danger.DESTRUCTIVE),
        ("explain (analyze off) delete from a", Danger.READ),
        ("explain select app.wipe()", Danger.UNKNOWN),  # the planner runs what calls itself immutable
        ("explain select dblink_exec('dbname=x', 'drop table t')", Danger.UNKNOWN),
        ("explain select lower(x) from a", Danger.READ),
        ("create temp table a (i int); truncate a", Danger.WRITE),
        ("create temp table a (i int); set search_path = public, pg_temp; truncate a", Danger.DESTRUCTIVE),
        (
            "create temp table a (i int); select set_config('search_path', 'public', false); truncate a",
            Danger.DESTRUCTIVE,
        ),
        ("create temp table a (i int); reset all; truncate a", Danger.DESTRUCTIVE),
        ("drop table pg_temp.a", Danger.READ),
        ("drop table pg_temp_3.a", Danger.DESTRUCTIVE),
        ("truncate pg_temp_3.a", Danger.DESTRUCTIVE),
    ],
)
def test_what_only_looks_harmless(text: str, danger: Danger) -> None:
    assert classify(text).danger is danger, [str(finding) for finding in classify(text).findings]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("create table s.t (i int)", "CREATE TABLE s.t"),
        ("create database x", "CREATE DATABASE x"),
        ("checkpoint", "CHECKPOINT"),
        ("security label on table t is 'x'", "SECURITY LABEL"),
        ("analyze a, b", "ANALYZE a, b"),
        ("vacuum full a", "VACUUM a"),
        ("create unique index i on a (x)", "CREATE INDEX a"),
        ("create or replace view s.v as select 1", "CREATE VIEW s.v"),
        ("create type e as enum ('a')", "CREATE TYPE e"),
        ("create materialized view m as select 1", "CREATE MATERIALIZED VIEW m"),
        ("refresh materialized view m", "REFRESH MATERIALIZED VIEW m"),
        ("lock a in share mode", "LOCK TABLE a"),
        ("create function s.f() returns int language sql as 'select 1'", "CREATE FUNCTION s.f"),
        ("alter table a rename to b", "ALTER TABLE a"),
        ("grant select on a to r", "GRANT"),
        ("revoke select on a from r", "REVOKE"),
        ("create role r", "CREATE ROLE r"),
        ("drop role r, s", "DROP ROLE r, s"),
        ("alter database x set work_mem = 1", "ALTER DATABASE x (SET work_mem)"),
        ("create server s foreign data wrapper w", "CREATE SERVER s"),
        ("notify a", "NOTIFY a"),
    ],
)
def test_commands_have_postgresqls_names(text: str, told: str) -> None:
    assert [str(finding) for finding in classify(text).findings] == [told]


ENDS = "select pg_terminate_backend(pid) from pg_stat_activity"


@pytest.mark.parametrize(
    ("text", "reach", "objects"),
    [
        ("drop database if exists x", Reach.DATABASE, ("x",)),
        ("create database x", Reach.NEW_DATABASE, ("x",)),
        ("alter database x owner to r", Reach.DATABASE, ("x",)),
        ("grant all on database x, y to r", Reach.DATABASE, ("x", "y")),
        ("drop user r", Reach.ROLE, ("r",)),
        ("alter role r rename to s", Reach.ROLE, ("r",)),
        ("drop owned by r, current_user", Reach.ROLE, ("r", "current_user")),
        ("create user r", Reach.NEW_ROLE, ("r",)),
        ("alter system reset all", Reach.SERVER, ()),
        ("drop tablespace t", Reach.SERVER, ("t",)),
        (f"{ENDS} where datname = 'x' and pid <> 7", Reach.SESSIONS, ("x",)),
        (f"{ENDS} where datname = current_database()", Reach.SESSIONS, ("",)),
        (f"{ENDS} where datname = 'x' or true", Reach.SESSIONS, ()),
        ("select pg_cancel_backend(7)", Reach.SESSIONS, ()),
        ("select dblink('dbname=x', 'select 1')", Reach.ELSEWHERE, ()),
        ("do $$ begin perform dblink_exec('dbname=x', 'drop table t'); end $$", Reach.ELSEWHERE, ()),
    ],
)
def test_what_leaves_its_database(text: str, reach: Reach, objects: tuple[str, ...]) -> None:
    (finding,) = classify(text).reaching
    assert (finding.reach, finding.objects) == (reach, objects)


def test_placeholders_of_jdbc_are_understood_where_a_caller_says_so() -> None:
    for text, danger in (
        ("select * from a where id = ?", Danger.READ),
        ("delete from a where id = ?", Danger.WRITE),
        ("delete from a where x = '?' or true", Danger.DESTRUCTIVE),
        ("select x ?? 'k' from a where id = ?", Danger.READ),
        ("insert into a values (?, ?)", Danger.WRITE),
        ("truncate a -- ?", Danger.DESTRUCTIVE),
    ):
        assert classify(text, "jdbc").danger is danger, text
    assert classify("select * from a where id = ?").danger is Danger.UNKNOWN


@given(
    st.lists(
        st.sampled_from(
            [
                "'",
                "''",
                '"',
                "%s",
                "%(a)s",
                ":b",
                "::",
                "--",
                "\n",
                "/*",
                "*/",
                "$$",
                "$t$",
                "a",
                " ",
                "\\",
                "e'",
                "E'",
                "?",
                "(",
                ")",
            ]
        ),
        max_size=30,
    )
)
@settings(max_examples=500, deadline=None, derandomize=True, database=None)
def test_the_spelling_keeps_what_is_quoted(pieces: list[str]) -> None:
    """Whatever is quoted or commented out, no parameter comes of it: the parser sees the same number of them."""
    text = "".join(pieces)
    quoted = text.replace("'", "''")
    assert as_the_server_sees_it(f"select '{quoted}'") == f"select '{quoted}'"
    block = text.replace("*/", "").replace("/*", "")
    assert as_the_server_sees_it(f"/*{block} */ select 1") == f"/*{block} */ select 1"


def test_long_texts_are_read_once() -> None:
    """A text of four times the length takes four times the steps, as the interpreter counts them, and not sixteen."""
    for piece in ("/*%s", "'\\", "%(", "$$ $", "e'\\'", '"', "/* */%s", "--\n", "?:"):
        few, many = (steps_over(piece * n) for n in (500, 2000))
        assert many <= 5 * few, (piece, few, many)


def steps_over(text: str) -> int:
    """Lines of Python that reading a text takes; each of them looks at a piece of the text that none before it did."""
    steps = 0

    def count(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal steps
        steps += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        as_the_server_sees_it(text)
    finally:
        sys.settrace(before)
    return steps
