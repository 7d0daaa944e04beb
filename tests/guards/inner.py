"""Scripts and suites that run guarded, in a process of their own, as a user's would."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psycopg


@dataclass(frozen=True)
class Inner:
    """How an inner process ended."""

    code: int
    out: str


def clean_environment(**environment: str) -> dict[str, str]:
    """Ours, without what would speak to libpq, to pytest or to the guard."""
    spoken = ("PG", "PYTEST", "CI", "ROWBACK_GUARD", "DJANGO")
    return {**{name: value for name, value in os.environ.items() if not name.startswith(spoken)}, **environment}


def inner_suite(name: str) -> str:
    """The text of a suite or script in inner_suites, which is run elsewhere and never collected here."""
    return (Path(__file__).parent / "inner_suites" / f"{name}.py").read_text()


def pytest_on(home: Path, suite: str, dsn: str, *arguments: str, ini: str = "", **environment: str) -> Inner:
    (home / "test_inner.py").write_text(suite)
    (home / "pytest.ini").write_text(f"[pytest]\n{ini}\n")
    return ran(
        home,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:asyncio",
        "-p",
        "no:django",
        "-p",
        "no:pytest_postgresql",
        *arguments,
        TEST_DSN=dsn,
        **environment,
    )


def ran(home: Path, *arguments: str, **environment: str) -> Inner:
    """This Python with `arguments`, in `home`."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=home,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=clean_environment(**environment),
    )
    return Inner(done.returncode, done.stdout)


def script(home: Path, text: str, dsn: str, **environment: str) -> Inner:
    """A guarded script."""
    (home / "guarded.py").write_text(f"import guards\nguards.enable('dev')\n{text}")
    return ran(home, "guarded.py", TEST_DSN=dsn, **environment)


def keywords_of(dsn: str) -> dict[str, str | int]:
    """A conninfo string as asyncpg's keywords."""
    way = psycopg.conninfo.conninfo_to_dict(dsn)
    return {
        "host": str(way["host"]),
        "port": int(str(way["port"])),
        "user": str(way["user"]),
        "database": str(way["dbname"]),
    }
