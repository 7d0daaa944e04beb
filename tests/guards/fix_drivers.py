"""What the tests of all drivers share."""

from __future__ import annotations

import psycopg

from tests.fix_plain import Plain

FURNITURE = (
    "create table parent (id int primary key)",
    "create table child (id int, p int references parent)",
    "insert into parent values (1), (2), (3)",
    "insert into child values (1, 1)",
    "analyze",
    "create function wipe() returns void language sql as 'delete from child'",
    "create type pair as (a int, b text)",
    "alter database {} set log_statement = 'all'",
)


def as_url(dsn: str) -> str:
    """For asyncpg, which reads no key=value."""
    part = psycopg.conninfo.conninfo_to_dict(dsn)
    return "postgresql://{user}:{password}@{host}:{port}/{dbname}".format(**{"password": "x", **part})


def reached(plain: Plain, name: str) -> list[str]:
    """What reached the server of that database and is neither a read nor the guard's own setting."""
    reads = (
        "select",
        "set default_transaction_read_only = on",
        "begin",
        "rollback",
        "show",
        "commit",
        "discard",
        "close",
        "unlisten",
        "reset all",
        "abort",
        "with recursive",
        "declare",
        "fetch",
        "set session auth",
        "listen",
        "deallocate",
        "savepoint",
        "release",
    )
    return [text for text in plain.statements_in(name) if not text.lower().lstrip("; \n").startswith(reads)]
