"""Build PostgreSQL's own regression database on a running server, as pg_regress does, and hand it to its user."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from guards.postgres_programs import system_directories
from tests.regression.package import default_cache, regression_sources

__all__ = ["default_cache", "load_regression", "regression_sources"]

AT_ONCE = 2
FILE_DEADLINE_S = 60.0
SKIPPED = {
    "tablespace": "its tablespaces are directories that a backup of the lab would have to know",
    "infinite_recurse": "it only overflows the server's stack",
}
NEEDS_LIBRARY = {"create_function_c": "it does nothing but load regress.so"}

# What pg_regress sets on its database (src/test/regress/pg_regress.c, create_database).
DATABASE_SETTINGS = {
    "lc_messages": "C",
    "lc_monetary": "C",
    "lc_numeric": "C",
    "lc_time": "C",
    "bytea_output": "hex",
    "timezone_abbreviations": "Default",
}

# Everything with an owner that came after initdb. pg_identify_object names it as ALTER wants it.
OWNED = """
select format('alter %%s %%s owner to %%I', named.type, named.identity, %(master)s::text)
from (
  select 'pg_namespace'::regclass, oid, nspowner, 1 from pg_namespace
  union all select 'pg_type'::regclass, oid, typowner, 2 from pg_type
  union all select 'pg_class'::regclass, oid, relowner, 3 from pg_class where relkind in ('r', 'p', 'v', 'm', 'f', 'S')
  union all select 'pg_proc'::regclass, oid, proowner, 4 from pg_proc
  union all select 'pg_operator'::regclass, oid, oprowner, 4 from pg_operator
  union all select 'pg_opclass'::regclass, oid, opcowner, 4 from pg_opclass
  union all select 'pg_opfamily'::regclass, oid, opfowner, 4 from pg_opfamily
  union all select 'pg_collation'::regclass, oid, collowner, 4 from pg_collation
  union all select 'pg_conversion'::regclass, oid, conowner, 4 from pg_conversion
  union all select 'pg_ts_config'::regclass, oid, cfgowner, 4 from pg_ts_config
  union all select 'pg_ts_dict'::regclass, oid, dictowner, 4 from pg_ts_dict
  union all select 'pg_statistic_ext'::regclass, oid, stxowner, 4 from pg_statistic_ext
  union all select 'pg_publication'::regclass, oid, pubowner, 4 from pg_publication
  union all select 'pg_foreign_server'::regclass, oid, srvowner, 4 from pg_foreign_server
  union all select 'pg_largeobject'::regclass, oid, lomowner, 4 from pg_largeobject_metadata
) owned (catalog, oid, owner, turn), pg_identify_object(catalog, owned.oid, 0) named
where owned.oid >= 16384 and owner <> %(master)s::regrole
order by turn, owned.oid
"""


@dataclass(frozen=True)
class Paths:
    """What the test files are told about this machine."""

    psql: Path
    sources: Path
    scratch: Path  # what COPY reads and writes: it must be open to the server's account
    library: Path

    def environment(self, test: str) -> dict[str, str]:
        """The environment that pg_regress gives to psql."""
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "LANG": "C",
            "LC_MESSAGES": "C",
            "PGAPPNAME": f"pg_regress/{test}",
            "PGTZ": "America/Los_Angeles",
            "PGDATESTYLE": "Postgres, MDY",
            "PGOPTIONS": "-c intervalstyle=postgres_verbose",
            "PG_ABS_SRCDIR": str(self.scratch),
            "PG_ABS_BUILDDIR": str(self.scratch),
            "PG_LIBDIR": str(self.library),
            "PG_DLSUFFIX": ".so",
        }


def load_regression(dsn_of: Callable[[str], str], database: str, sources: Path, *, master: str = "postgres") -> None:
    """Create `database` and run the regression tests' files in it; then `master` owns what is there.

    `dsn_of` gives the DSN of a superuser to a database of a running PostgreSQL 15 on this machine. Errors of SQL are
    part of the tests and ignored. The tests leave roles (regress_…) behind, so load once in a cluster.
    """
    psql = next(path / "psql" for path in system_directories() if "/15/" in f"{path}/" and (path / "psql").is_file())
    with psycopg.connect(dsn_of("postgres"), autocommit=True) as connection:
        _create_database(connection, database)
        config: dict[str, str] = dict(connection.execute("select name, setting from pg_config").fetchall())
    library = _library(sources, Path(config["INCLUDEDIR-SERVER"]), Path(config["PKGLIBDIR"]))
    with tempfile.TemporaryDirectory(prefix="regression-") as name:
        paths = Paths(psql, sources, _scratch(Path(name), sources), library or Path(config["PKGLIBDIR"]))
        for group in schedule(sources, with_library=library is not None):
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(lambda test: _run_file(paths, dsn_of(database), test), group))
    with psycopg.connect(dsn_of(database), autocommit=True) as connection:
        _hand_over(connection, database, master)


def schedule(sources: Path, *, with_library: bool) -> list[list[str]]:
    """The groups of tests in their order, without those that are of no use here."""
    left_out = SKIPPED if with_library else {**SKIPPED, **NEEDS_LIBRARY}
    lines = (sources / "parallel_schedule").read_text().splitlines()
    groups = [line.removeprefix("test:").split() for line in lines if line.startswith("test:")]
    return [[test for test in group if test not in left_out] for group in groups]


def _create_database(connection: psycopg.Connection[Any], database: str) -> None:
    """An empty database with the settings the tests expect."""
    name = sql.Identifier(database)
    connection.execute(sql.SQL("create database {} template template0").format(name))
    for setting, value in DATABASE_SETTINGS.items():
        connection.execute(
            sql.SQL("alter database {} set {} to {}").format(name, sql.Identifier(setting), sql.Literal(value))
        )


def _library(sources: Path, headers: Path, installed: Path) -> Path | None:
    """A directory with regress.so and the two modules the tests use; None where it cannot be compiled.

    It stays with the sources: functions of the database go on using it.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or not (headers / "postgres.h").is_file():
        return None
    directory = sources / "lib"
    directory.mkdir(exist_ok=True)
    wanted = directory / "regress.so"
    made = directory / f"regress.{os.getpid()}"
    arguments: list[str | Path] = [
        compiler,
        "-shared",
        "-fPIC",
        "-O1",
        "-w",
        "-I",
        headers,
        "-o",
        made,
        sources / "regress.c",
    ]
    if not wanted.exists() and subprocess.run(arguments, check=False, capture_output=True).returncode == 0:
        made.rename(wanted)
    for module in ("refint.so", "autoinc.so"):
        with suppress(FileExistsError):
            (directory / module).symlink_to(installed / module)
    return directory if wanted.exists() else None


def _scratch(scratch: Path, sources: Path) -> Path:
    """Fill a directory that the server's account can read, with results/ for what it writes."""
    scratch.chmod(0o755)
    shutil.copytree(sources / "data", scratch / "data")
    results = scratch / "results"
    results.mkdir()
    results.chmod(0o777)  # the server's account is not ours
    return scratch


def _run_file(paths: Paths, dsn: str, test: str) -> None:
    """Run one file as pg_regress does. A file that hangs is left behind after its deadline."""
    arguments: list[str | Path] = [
        paths.psql,
        "-X",
        "-a",
        "-q",
        "-d",
        dsn,
        "-v",
        "HIDE_TABLEAM=on",
        "-v",
        "HIDE_TOAST_COMPRESSION=on",
    ]
    with (paths.sources / "sql" / f"{test}.sql").open("rb") as script:
        process = subprocess.Popen(
            arguments,
            stdin=script,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=paths.scratch,
            env=paths.environment(test),
        )
        try:
            process.wait(FILE_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _hand_over(connection: psycopg.Connection[Any], database: str, master: str) -> None:
    """Make `master` the owner of all that the tests left. REASSIGN OWNED refuses for the cluster's first superuser."""
    owner = sql.Identifier(master)
    connection.execute(sql.SQL("alter database {} owner to {}").format(sql.Identifier(database), owner))
    for (statement,) in connection.execute(OWNED, {"master": master}).fetchall():
        try:
            connection.execute(statement)
        except psycopg.Error:
            continue  # it goes with another object (row types, arrays, sequences of columns)
