"""Losing rows, and the logs that tell of it."""

from __future__ import annotations

from tests.fix_lab import Database, Live, wait_until


def settings(live: Live, **changed: str) -> None:
    cluster = live.lab.engine.instances[live.identifier].cluster
    cluster.settings |= changed
    cluster.reload()

    def so() -> bool:
        with live.connect() as fresh:
            return all(fresh.execute("select current_setting(%s)", (n,)).fetchone() == (v,) for n, v in changed.items())

    wait_until(so, f"{changed}")


def furnish(database: Database) -> None:
    database.run(
        "create table parent (id int primary key, email text)",
        "create table child (p int references parent)",
        "insert into parent select g, 'user' || g || '@example.org' from generate_series(1, 30) g",
        "insert into child select g from generate_series(1, 20) g",
        "analyze",
    )


def emptied(database: Database) -> None:
    """The counters of a session that has ended come a moment later."""
    asked = "select count(*) from pg_stat_user_tables where relname = 'parent' and n_live_tup = 0 and n_tup_ins = 30"
    wait_until(lambda: database.rows(asked) == [(1,)], "the counters know of it")
