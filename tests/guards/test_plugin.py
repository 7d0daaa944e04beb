"""The pytest plugin around the refusals: header, JUnit, marker, the application's databases; unittest; `guard run`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import psycopg
import pytest

from tests.fix_cli import AS_FROM_A_SHELL
from tests.fix_lab import Database, wait_until
from tests.fix_plain import Plain
from tests.guards.fix_plugin import POSTGRESQL, guard_run
from tests.guards.fix_suite import SUITE, SWALLOWED, furnish, rows
from tests.guards.forwarder import forwarded
from tests.guards.inner import clean_environment, inner_suite, pytest_on, ran


def test_the_header_tells_each_databases_verdict(plain: Plain, database: Database, tmp_path: Path) -> None:
    dsn = plain.make("headed")
    (tmp_path / ".env").write_text(f"# local\nexport DATABASE_URL='{dsn}'\n")
    ini = (
        "rowback_guard_databases =\n    $TEST_DSN\n    $NOT_SET\n    .env:DATABASE_URL\n"
        "    host=127.0.0.1 port=1 dbname=x\n"
    )
    found = pytest_on(tmp_path, "def test(): pass", database.live.dsn(database.name), "-v", ini=ini)
    lines = found.out.splitlines()
    start = lines.index("rowback guard: dev (psycopg, psycopg2, asyncpg; SQLAlchemy and Django on them)")
    assert lines[start + 1 : start + 3] == [
        "  $TEST_DSN: not proven disposable (it is managed: Amazon RDS; its WAL is archived: it is meant to be"
        " restorable; no mark of its owner)",
        "  $NOT_SET: not configured here",
    ]
    assert lines[start + 3].startswith("  .env:DATABASE_URL: disposable (it runs on this machine: backend ")
    assert lines[start + 4].startswith("  host=127.0.0.1 port=1 dbname=x: connection failed")
    assert found.code == 0


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_junit_knows_what_was_refused_and_where(database: Database, tmp_path: Path, workers: tuple[str, ...]) -> None:
    furnish(database)
    found = pytest_on(tmp_path, SWALLOWED, database.live.dsn(database.name), "--junitxml=report.xml", *workers)
    assert found.code == 1
    report = ET.parse(tmp_path / "report.xml")  # noqa: S314 (our own)
    suite = {p.get("name"): p.get("value") for p in report.findall("./testsuite/properties/property")}
    assert suite["rowback_guard"] == "dev"
    assert str(suite[f"rowback_guard: '{database.name}' on 127.0.0.1:{database.live.port}"]).startswith(
        "not proven disposable (it is managed: Amazon RDS"
    )
    cases = report.findall("./testsuite/testcase")
    told = [
        [str(p.get("value")) for p in case.findall("./properties/property[@name='rowback_guard']")] for case in cases
    ]
    assert len(told) == 4
    for case, (refusal,) in zip(cases, told, strict=True):
        assert refusal.startswith("refused[not-disposable]: DELETE parent (without WHERE) was not sent")
        assert f"test_inner.py::{case.get('name')} (call)" in refusal


def test_refusals_that_a_test_is_about(database: Database, tmp_path: Path) -> None:
    furnish(database)
    suite = SWALLOWED.replace(
        "@pytest.mark.parametrize", "@pytest.mark.rowback_refusals_expected\n@pytest.mark.parametrize"
    )
    assert pytest_on(tmp_path, suite, database.live.dsn(database.name)).code == 0
    mixed = suite + "\ndef test_other():\n    try:\n        attempt()\n    except BaseException:\n        pass\n"
    found = pytest_on(tmp_path, mixed, database.live.dsn(database.name), "-n", "2")
    assert (found.code, "rowback guard: 1 refused" in found.out) == (1, True)
    assert rows(database) == (3, 1)


@pytest.mark.matrix
@pytest.mark.parametrize("said", ["$APP_DATABASE", ".env:APP", ".env:PRISMA", ".env:GIS", ".env:REMARK", "FULL"])
def test_the_applications_own_database_is_never_disposable(plain: Plain, tmp_path: Path, said: str) -> None:
    name = f"own_{said.strip('$.').replace(':', '_').lower()}"
    dsn = plain.make(name, "create table parent (id int primary key)")
    aliased = dsn.replace("host=127.0.0.1", "host=localhost") + " application_name=app"
    url = f"postgresql+asyncpg://app@localhost:{plain.port}/{name}"
    (tmp_path / ".env").write_text(
        f"APP={url}?ssl=disable\nexport PRISMA='postgresql://app@localhost:{plain.port}/{name}?schema=public'\n"
        f"GIS=postgis://app@localhost:{plain.port}/{name}\nREMARK={url}  # the app\n"
    )
    with forwarded(("127.0.0.1", plain.port)) as tunnel:
        far = aliased.replace(f"port={plain.port}", f"port={tunnel}")
        ini = f"rowback_guard_application = {far if said == 'FULL' else said}"
        found = pytest_on(tmp_path, SUITE, dsn, "-k", "test_one", ini=ini, APP_DATABASE=aliased)
        assert found.code == 1, found.out
        told = str(tmp_path / said) if said.startswith(".env") else far if said == "FULL" else said
        assert f"  it is the application's own database: {told}" in found.out
        assert pytest_on(tmp_path, SUITE, dsn, "-k", "test_one").code == 0
    gone = "rowback_guard_application = host=127.0.0.1 port=1 dbname=x\n    $NOT_SET"
    assert pytest_on(tmp_path, SUITE, dsn, "-k", "test_one", ini=gone).code == 0


def test_what_is_configured_and_cannot_be_read_is_no_absence(tmp_path: Path) -> None:
    found = pytest_on(
        tmp_path, "def test(): pass", "", ini="rowback_guard_application = $APP", APP="postgresql://app:s3cret@[oops"
    )
    assert found.code == 4
    assert "error[policy-invalid]: what $APP says is no DSN" in found.out
    assert "s3cret" not in found.out


def test_files_of_a_policy_are_found_from_below(plain: Plain, tmp_path: Path) -> None:
    dsn = plain.make("below")
    (tmp_path / ".env").write_text(f"APP='{dsn}'\n")
    (tmp_path / "rowback.toml").write_text('[guard]\napplication = [".env:APP"]\n')
    (tmp_path / "sub").mkdir()
    for place in (tmp_path, tmp_path / "sub"):
        found = ran(place, "-m", "recovery.cli", "guard", "check", "--dsn", dsn)
        assert found.code == 21, found.out


UNITTEST = inner_suite("unittest_suite")


def test_unittest_fails_even_if_it_was_swallowed(database: Database, tmp_path: Path) -> None:
    furnish(database)
    (tmp_path / "test_cleaning.py").write_text(UNITTEST)
    for how in (["test_cleaning.py"], ["-m", "unittest", "-q"]):
        found = ran(tmp_path, *how, TEST_DSN=database.live.dsn(database.name))
        assert found.code == 1, found.out
        assert "FAILED (errors=1)" in found.out
        assert "refused[not-disposable]: DROP TABLE parent CASCADE was not sent" in found.out
        assert "  at test_cleaning.py:11 in test_swallowed" in found.out
    assert rows(database) == (3, 1)
    (tmp_path / "test_cleaning.py").write_text(UNITTEST.replace("drop table parent cascade", "select 1"))
    assert ran(tmp_path, "test_cleaning.py", TEST_DSN=database.live.dsn(database.name)).code == 0


CHILD = """
import os, psycopg, subprocess, sys
if len(sys.argv) > 1:
    sys.exit(subprocess.run([sys.executable, __file__]).returncode)
try:
    psycopg.connect(os.environ["TEST_DSN"], autocommit=True).execute("truncate parent cascade")
except BaseException:
    pass
"""


def test_guard_run_reaches_children_and_their_children(database: Database, tmp_path: Path) -> None:
    furnish(database)
    (tmp_path / "child.py").write_text(CHILD)
    dsn = database.live.dsn(database.name)
    for command in (
        [sys.executable, "child.py"],
        ["sh", "-c", f"{sys.executable} child.py"],
        [sys.executable, "child.py", "again"],
    ):
        code, out = guard_run(tmp_path, *command, dsn=dsn)
        assert code == 21, out
        lines = out.splitlines()
        assert lines[0] == "rowback guard: 1 refused"
        assert lines[1].startswith("refused[not-disposable]: TRUNCATE parent CASCADE was not sent")
        assert "  at child.py:6 in <module>" in lines
    assert rows(database) == (3, 1)


CONFTEST = """
import os, psycopg
with psycopg.connect(os.environ["TEST_DSN"], autocommit=True) as connection:
    connection.execute("truncate parent cascade")
"""


def test_a_conftest_is_guarded_already(database: Database, tmp_path: Path) -> None:
    furnish(database)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    found = pytest_on(tmp_path, "def test(): pass", database.live.dsn(database.name))
    assert (found.code != 0, rows(database)) == (True, (3, 1)), found.out
    assert "TRUNCATE parent CASCADE was not sent" in found.out


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_children_of_tests_are_guarded_and_fail_the_run(
    database: Database, tmp_path: Path, workers: tuple[str, ...]
) -> None:
    furnish(database)
    (tmp_path / "child.py").write_text(CHILD)
    suite = (
        "import multiprocessing, os, psycopg, subprocess, sys\n"
        "def wipe():\n"
        "    try:\n        psycopg.connect(os.environ['TEST_DSN'], autocommit=True).execute('delete from child')\n"
        "    except BaseException:\n        pass\n"
        "def test_subprocess():\n    assert subprocess.run([sys.executable, 'child.py']).returncode == 0\n"
        "def test_spawn():\n    process = multiprocessing.get_context('spawn').Process(target=wipe)\n"
        "    process.start()\n    process.join()\n    assert process.exitcode == 0\n"
    )
    found = pytest_on(tmp_path, suite, database.live.dsn(database.name), *workers)
    assert (found.code, rows(database)) == (1, (3, 1)), found.out
    assert "2 passed" in found.out
    assert "rowback guard: 2 refused" in found.out
    assert "TRUNCATE parent CASCADE was not sent" in found.out
    assert "DELETE child (without WHERE) was not sent" in found.out


def test_a_child_of_another_python_runs_where_it_needs_no_driver(tmp_path: Path) -> None:
    """One that has none of our packages: it is this Python without its site-packages."""
    assert guard_run(tmp_path, sys.executable, "-S", "-c", "print('ran')") == (0, "ran\n")
    base = str(Path(sys.executable).resolve())
    assert guard_run(tmp_path, base, "-c", "print('ran')") == (0, "ran\n")


def test_guard_run_hands_on_what_it_does_not_judge(tmp_path: Path) -> None:
    exits = "import sys; sys.exit(int(sys.argv[1]))"
    assert guard_run(tmp_path, sys.executable, "-c", exits, "0") == (0, "")
    assert guard_run(tmp_path, sys.executable, "-c", exits, "7") == (7, "")
    assert guard_run(tmp_path, "sh", "-c", "kill -9 $$") == (137, "")
    code, out = guard_run(tmp_path, "no-such-program")
    assert code == 2
    assert out.splitlines()[0] == "error[usage]: 'no-such-program' cannot be run: No such file or directory"
    (tmp_path / "sitecustomize.py").write_text("print('mine')")
    on = "import psycopg, guards.guard_session as s; print(s.active() is not None)"
    found = ran(
        tmp_path, "-m", "recovery.cli", "guard", "run", "--", sys.executable, "-c", on, PYTHONPATH=str(tmp_path)
    )
    assert found.out.splitlines()[-2:] == ["mine", "True"]


def test_a_child_that_cannot_be_guarded_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "rowback.toml").write_text("[guard]\nallow = 1\n")
    (tmp_path / "below").mkdir()
    code, out = guard_run(tmp_path / "below", sys.executable, "-c", "import psycopg; print('ran')")
    assert (code, "ran" in out) == (2, False)
    (tmp_path / "rowback.toml").unlink()
    later = (
        "import pathlib, subprocess, sys; pathlib.Path('rowback.toml').write_text('[guard]\\nallow = 1\\n');"
        "sys.exit(subprocess.run([sys.executable, '-c', 'import psycopg; print(\"ran\")']).returncode)"
    )
    code, out = guard_run(tmp_path / "below", sys.executable, "-c", later)
    assert code == 21
    assert "this process cannot be guarded" in out
    assert "ran\n" not in out


WAITS = """
import pathlib, signal, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    pathlib.Path("up").touch()
    threading.Event().wait(60)
except KeyboardInterrupt:
    pathlib.Path("tidy").touch()
    raise SystemExit(3)
"""


def test_ctrl_c_ends_the_child_first(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", AS_FROM_A_SHELL, "recovery.cli", "guard", "run", "--", sys.executable, "-c", WAITS],
        cwd=tmp_path,
        env=clean_environment(),
        start_new_session=True,
    )
    wait_until((tmp_path / "up").exists, "the child is up")
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=30) == 3
    assert (tmp_path / "tidy").exists()


ASYNCIO = """
import os, psycopg, pytest
from psycopg import AsyncConnection

@pytest.fixture
async def clean():
    async with await AsyncConnection.connect(os.environ["TEST_DSN"]) as connection:
        await connection.execute("truncate parent cascade")

async def test_one(clean):
    pass
"""


def test_with_pytest_asyncio(database: Database, tmp_path: Path) -> None:
    furnish(database)
    (tmp_path / "test_inner.py").write_text(ASYNCIO)
    found = ran(
        tmp_path,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-o",
        "asyncio_mode=auto",
        TEST_DSN=database.live.dsn(database.name),
    )
    assert (found.code, rows(database)) == (1, (3, 1))
    assert "  in test_inner.py::test_one (setup), fixture 'clean'\n  at test_inner.py:8 in clean\n" in found.out


def test_with_pytest_postgresql(plain: Plain, tmp_path: Path) -> None:
    """Its janitor terminates sessions and drops databases wherever it is pointed: only where that is proven."""
    (tmp_path / "test_inner.py").write_text(POSTGRESQL)
    command = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "no:django")
    with forwarded(("127.0.0.1", plain.port)) as tunnel:
        refused = ran(tmp_path, *command, TEST_DSN=plain.dsn(port=tunnel))
    assert refused.code == 1
    assert "CREATE DATABASE janitor_tmpl was not sent to 'postgres'" in refused.out
    passed = ran(tmp_path, *command, TEST_DSN=plain.dsn())
    assert passed.code == 0, passed.out
    with psycopg.connect(plain.dsn()) as server:
        assert server.execute("select datname from pg_database where datname like 'janitor%'").fetchall() == []
