"""The catalog as a recovery needs it: partitions, foreign keys of every shape, sequences, what this role may do."""

from __future__ import annotations

import psycopg

from recovery.model.catalog import Catalog
from recovery.postgres.connect import connect
from recovery.postgres.definition_digest import definitions_digest
from recovery.postgres.foreign_key_checks import dangling_references
from recovery.postgres.read_catalog import hidden_from, last_value, nonempty, read_catalog
from tests.fix_lab import Database


def read(database: Database) -> Catalog:
    with connect(database.target()) as session:
        return read_catalog(session)


def test_partitions_hold_rows_and_their_parents_do_not(database: Database) -> None:
    database.run(
        "create table p (id int, day date, primary key (id, day)) partition by range (day)",
        "create table p1 partition of p for values from ('2026-01-01') to ('2026-02-01')",
        "create table p2 partition of p for values from ('2026-02-01') to ('2026-03-01')",
        "create table child (id int, day date, foreign key (id, day) references p)",
        "insert into p values (1, '2026-01-05'), (2, '2026-02-05')",
        "insert into child values (1, '2026-01-05'), (2, '2026-02-05'), (null, '2026-01-05')",
    )
    found = read(database)
    assert [str(t.name) for t in found.tables] == ["public.child", "public.p1", "public.p2"]
    assert [(str(p.name), [str(leaf) for leaf in p.leaves]) for p in found.partitioned] == [
        ("public.p", ["public.p1", "public.p2"])
    ]
    (key,) = found.foreign_keys
    assert (str(key.parent), key.columns, [str(t) for t in key.parent_tables]) == (
        "public.p",
        ("id", "day"),
        ["public.p1", "public.p2"],
    )
    with connect(database.target()) as session:
        assert dangling_references(session, key) == 0
        session.execute("set session_replication_role = replica")
        session.execute("delete from public.p1")
        assert dangling_references(session, key) == 1


def test_composite_self_referencing_and_deferrable_keys(database: Database) -> None:
    database.run(
        "create table a (x int, y int, primary key (x, y))",
        "create table b (id int primary key, ax int, ay int, up int references b, "
        '"t" int unique deferrable, constraint "odd; key" foreign key (ax, ay) references a deferrable)',
    )
    keys = {key.name: key for key in read(database).foreign_keys}
    assert keys["odd; key"].deferrable
    assert keys["odd; key"].columns == ("ax", "ay")
    assert keys["odd; key"].parent_columns == ("x", "y")
    assert keys["b_up_fkey"].child == keys["b_up_fkey"].parent


def test_sequences_owned_identity_and_shared(database: Database) -> None:
    database.run(
        "create sequence shared",
        "create table \"T\" (a serial, b int generated always as identity, c int default nextval('shared'))",
        "select nextval('shared'), nextval('shared')",
    )
    found = {counter.name.name: counter for counter in read(database).sequences}
    assert {name: counter.last_value for name, counter in found.items()} == {
        "T_a_seq": None,
        "T_b_seq": None,
        "shared": 2,
    }
    assert found["shared"].column == "c"
    with connect(database.target()) as session:
        assert last_value(session, found["shared"].name) == 2


def test_unlogged_row_security_and_privileges(database: Database) -> None:
    database.run(
        "create unlogged table u (n int)",
        "create table forced (n int)",
        "alter table forced enable row level security",
        "alter table forced force row level security",
        "create table plain (n int)",
        "alter table plain enable row level security",
        "create temporary table gone (n int)",
    )
    found = {t.name.name: t for t in read(database).tables}
    assert set(found) == {"forced", "plain", "u"}
    assert (found["u"].unlogged, found["forced"].row_security, found["plain"].row_security) == (True, True, False)
    assert all(t.owned and t.insertable for t in found.values())


def test_emptiness_is_seen_by_one_row(database: Database) -> None:
    database.run("create table a (n int)", "create table b (n int) inherits (a)", "insert into b values (1)")
    names = [t.name for t in read(database).tables]
    with connect(database.target()) as session:
        assert {n.name for n in nonempty(session, names)} == {"b"}


def test_definitions_change_their_digest_and_rows_do_not(database: Database) -> None:
    database.run("create table a (n int primary key, t text)")
    changes = (
        "alter table a add constraint positive check (n > 0)",
        "create index on a (t)",
        "grant select on a to public",
        "alter table a enable row level security",
        "create policy p on a using (true)",
        "create function f() returns trigger language plpgsql as 'begin return null; end'",
        "create trigger tr after insert on a execute function f()",
        "alter table a disable trigger tr",
        "alter table a alter column t type varchar(9)",
    )
    with connect(database.target()) as session:
        session.execute("set search_path = public")
        seen = [definitions_digest(session)]
        session.execute("insert into a values (1, 'x')")
        assert definitions_digest(session) == seen[0]
        for change in changes:
            session.execute(change)
            seen.append(definitions_digest(session))
    assert len(set(seen)) == len(changes) + 1


def test_members_of_an_extension_are_data_where_users_own_them_or_it_says_so(database: Database) -> None:
    database.run(
        "create table ref (id int primary key)",
        "create table t (id int references ref)",
        "create table own (id int primary key)",
        "create table kept (id int primary key)",
    )
    cluster = database.live.lab.engine.instances[database.live.identifier].cluster
    with psycopg.connect(cluster.dsn(database.name), autocommit=True) as admin:
        for name in ("ref", "own", "kept"):
            admin.execute(f"alter extension plpgsql add table {name}")
        for name in ("ref", "kept"):
            admin.execute(f"alter table {name} owner to {admin.info.user}")
        admin.execute(
            "update pg_extension set extconfig = array['kept'::regclass::oid], extcondition = array['']"
            " where extname = 'plpgsql'"
        )
    found = read(database)
    assert [(str(t.name), t.extension) for t in found.tables] == [
        ("public.kept", "plpgsql"),
        ("public.own", "plpgsql"),
        ("public.t", None),
    ]
    assert [str(key.parent) for key in found.foreign_keys] == ["public.ref"]


def test_what_another_role_would_not_see(database: Database) -> None:
    database.run(
        "create table open (n int)",
        "create table closed (n int)",
        "create table hidden (n int)",
        "alter table hidden enable row level security",
    )
    role = f"reader_{database.name}"
    with database.live.connect() as master:
        master.execute(f"create role {role}")
        master.execute(f"grant {role} to postgres")
    database.run(f"grant usage on schema public to {role}", f"grant select on open, hidden to {role}")
    tables = read(database).tables
    with connect(database.target()) as session:
        assert [t.name for t in hidden_from(session, role, tables)] == ["closed", "hidden"]
        assert hidden_from(session, "postgres", tables) == []
    database.run(f"drop owned by {role}", f"drop role {role}")
