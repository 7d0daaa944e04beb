"""Ways by which drivers send a statement that destroys, and what becomes of it on an unproven server.

Each way is a function of one table's name, as a user's code would send `delete from` it. `python -m tests.guards.ways`
prints the table of docs/guards.md; tests/guards/test_contract.py runs every way and holds it against this.
"""

from __future__ import annotations

from tests.guards.inner import inner_suite

REFUSED = "refused"  # by the guard: nothing was sent
HELD = "by the server"  # it was sent past the guard, and the session is read-only
NOT_COVERED = "not covered"
PYTHON = {
    "psycopg": inner_suite("ways_by_driver_psycopg"),
    "psycopg2": inner_suite("ways_by_driver_psycopg2"),
    "asyncpg": inner_suite("ways_by_driver_asyncpg"),
    "aiopg": inner_suite("ways_by_driver_aiopg"),
    "SQLAlchemy": inner_suite("ways_by_driver_sqlalchemy"),
}
# What is not refused by the guard; every other way is.
NOT_REFUSED = {
    ("psycopg", "pgconn"): HELD,
    ("psycopg", "libpq_alone"): NOT_COVERED,
    ("psycopg2", "set_session_read_write_autocommit"): HELD,
    ("psycopg2", "readonly_off_in_autocommit"): HELD,
    ("psycopg2", "readonly_on_and_out_of_autocommit"): HELD,
    ("psycopg2", "cursor_class_itself"): HELD,
    ("psycopg2", "lower_level"): NOT_COVERED,
    ("psycopg2", "logging_class_itself"): NOT_COVERED,
    ("asyncpg", "after_reset"): HELD,
    ("asyncpg", "protocol"): HELD,
    ("SQLAlchemy", "autocommit_read_only_and_back"): HELD,
}
# Ways that pass by the drivers; each has a test of its own (tests/guards/test_around.py).
AROUND = (
    ("a Python child of a test", "refused, also with an environment of its own"),
    (
        "a Python child in isolated mode (`-I`, `-E`, `-S`)",
        "not covered; under `rowback guard run` noticed, exit code 21",
    ),
    ("psql, dropdb and other programs", "not covered; under `rowback guard run` named"),
    ("pg8000, psqlpy, connectorx, adbc, …", "named when they are imported; in `ci` the import is refused"),
    ("a psycopg2 connection older than the guard", "by the server; named"),
    ("a psycopg connection older than the guard", "refused"),
    (
        "a plugin given by `-p` that connects while it is imported",
        "refused with `-p rowback` before it; else not covered, and named",
    ),
    ("a view over a function, an operator, a cast", "by the server; behind a pooler not covered"),
)


def names(driver: str) -> list[str]:
    """The ways of a driver, in the order of the text."""
    found = []
    for line in PYTHON[driver].splitlines():
        if line.startswith(("def ", "async def ")) and line.endswith(("(t):", "(c, t):")):
            found.append(line.partition("def ")[2].partition("(")[0])
        elif line.startswith("text_over_"):
            found += [name.strip() for name in line.partition(" = ")[0].split(",")]
    return found


def verdict(driver: str, way: str) -> str:
    """What becomes of that way on an unproven server."""
    return NOT_REFUSED.get((driver, way), REFUSED)


def rendered() -> str:
    """The table of docs/guards.md."""
    lines = [
        "| driver | refused before it is sent | held by the read-only session | not covered |",
        "|---|---|---|---|",
    ]
    for driver in PYTHON:
        cells = []
        for outcome in (REFUSED, HELD, NOT_COVERED):
            cells.append(", ".join(way.replace("_", " ") for way in names(driver) if verdict(driver, way) == outcome))
        lines.append(f"| {driver} | " + " | ".join(cell or "–" for cell in cells) + " |")
    lines += ["", "| around the drivers | |", "|---|---|", *(f"| {what} | {told} |" for what, told in AROUND)]
    return "\n".join(lines)


if __name__ == "__main__":
    print(rendered())  # noqa: T201
