"""pytest: every run is guarded, says so in its header, and fails at its end if anything was refused.

Settings (pyproject, pytest.ini), each with a default:
`rowback_guard`: dev, ci or off. `rowback_guard_databases`: judged and shown in the header, one a line.
`rowback_guard_application`: the application's own, never disposable, one a line. Both: a DSN, `$NAME` of the
environment, `FILE:NAME` of a .env file, `django:ALIAS`.
Marker `rowback_refusals_expected`: this test is about a refusal; its refusals do not fail the run.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from guards import children

if TYPE_CHECKING:
    from guards.guard_session import Guard

REFUSALS = pytest.StashKey[list[str]]()
DATABASES = pytest.StashKey[dict[str, str]]()
BEGAN = pytest.StashKey[int]()
CHILDREN = pytest.StashKey[Path]()
OPTION = "rowback_guard"
EXPECTED = "rowback_refusals_expected"
WARNINGS = pytest.StashKey[list[str]]()
ENABLED = pytest.StashKey[bool]()
_IMPORTED_EARLIER: set[str] = set()  # drivers, before the guard
_OF_XDIST, _WARNED = f"{OPTION}_databases", f"{OPTION}_warnings"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The settings."""
    parser.addini(OPTION, "dev, ci or off (default: rowback.toml, else ci where CI is set, else dev)", default="")
    parser.addini(f"{OPTION}_databases", "databases to judge in the header", type="linelist", default=[])
    parser.addini(f"{OPTION}_application", "the application's own databases", type="linelist", default=[])
    _stand_early()


def _stand_early() -> None:
    """Plugins that are loaded after this one may connect while they are imported; what the settings say comes later."""
    import guards
    from guards.drivers.guarded_drivers import GUARDED
    from guards.refusal import GuardError

    _IMPORTED_EARLIER.update(driver for driver in GUARDED if driver in sys.modules and driver != "unittest")
    with suppress(GuardError):  # said again with the settings, and in pytest's words
        guards.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Before any conftest connects anywhere."""
    _enable(early_config)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Where there were no initial conftests, and what needs the whole configuration."""
    config.stash[REFUSALS], config.stash[DATABASES] = [], {}
    config.stash[WARNINGS] = []
    config.addinivalue_line("markers", f"{EXPECTED}: refusals of the guard in this test do not fail the run")
    _enable(config)
    _name_earlier_plugins(config)
    if hasattr(config, "workerinput"):
        children.silence()
    elif _active():
        config.stash[CHILDREN] = report = Path(tempfile.mkdtemp(prefix="rowback-guard-")) / "refused"
        os.environ.update(children.environment(_strictness(), report))
    if _active():
        children.carry()


def _name_earlier_plugins(config: pytest.Config) -> None:
    """Pytest imports what `-p` names before any plugin of an entry point; what such a one sent then passed unseen."""
    guard, named = _active(), [name for name in config.known_args_namespace.plugins if not name.startswith("no:")]
    for name in takewhile(lambda each: each != "rowback", named):
        place = getattr(sys.modules.get(name), "__file__", None)
        if guard and place and _IMPORTED_EARLIER and Path(place).is_relative_to(config.rootpath):
            drivers = ", ".join(sorted(_IMPORTED_EARLIER))
            guard.warnings.append(
                f"rowback guard: plugin {name} was imported before the guard stood, and so was {drivers}; what it sent"
                f" then was not looked at: put -p rowback before -p {name}"
            )


def _enable(config: pytest.Config) -> None:
    configured = str(config.getini(OPTION)).strip().lower()
    if configured == "off":
        import guards

        guards.disable()
    if configured == "off" or config.stash.get(ENABLED, False):
        return
    config.stash[ENABLED] = True
    if configured not in ("", "dev", "ci"):
        raise pytest.UsageError(f"{OPTION} = {configured}: say dev, ci or off")
    import guards
    from guards.refusal import GuardError

    try:
        guards.enable(
            "ci" if configured == "ci" else "dev" if configured else None,
            application=config.getini(f"{OPTION}_application"),
            place=config.rootpath,
        )
    except GuardError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Report header: whether the guard is active, its allowances, and its verdict on each configured database."""
    guard = _active()
    if guard is None:
        return ["rowback guard: off"]
    lines = [f"rowback guard: {guard.policy.strictness} (psycopg, psycopg2, asyncpg; SQLAlchemy and Django on them)"]
    lines += [f"  {allowance}" for allowance in guard.policy.allowances]
    from guards.drivers.guard_connection import verdict_on

    return lines + [
        f"  {configured}: {verdict_on(guard, configured)}" for configured in config.getini(f"{OPTION}_databases")
    ]


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any, request: Any) -> Iterator[None]:
    """A refusal names the fixture that is being set up, and is that fixture's outcome for every test that asks for it.

    Pytest keeps exceptions alone, and breaks off inside otherwise.
    """
    guard = _active()
    before = guard.fixture if guard else None
    if guard:
        guard.fixture = str(fixturedef.argname)
    try:
        return (yield)
    except _refused() as refusal:
        fixturedef.cached_result = (None, fixturedef.cache_key(request), (refusal, refusal.__traceback__))
        raise
    finally:
        if guard:
            guard.fixture = before


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Refusals that a test is about are forgotten when it is over."""
    guard = _active()
    item.stash[BEGAN] = len(guard.refusals) if guard else 0
    try:
        return (yield)
    finally:
        if guard and item.get_closest_marker(EXPECTED):
            del guard.refusals[item.stash[BEGAN] :]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> None:
    """Each refusal with the test that it happened in, as a property of the JUnit report."""
    guard = _active()
    for refusal in guard.refusals[item.stash[BEGAN] :] if guard else ():
        if (OPTION, refusal) not in item.user_properties:
            item.user_properties.append((OPTION, refusal))


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A refusal that a clean-up swallowed fails the run all the same; a worker of xdist hands its own up."""
    guard = _active()
    refusals, met = session.config.stash[REFUSALS], session.config.stash[DATABASES]
    if guard:
        refusals.extend(guard.refusals)
        refusals.extend(_of_children(session.config))
        met.update({judgement.name: judgement.summary for judgement in guard.judged.values()})
        session.config.stash[WARNINGS].extend(guard.warnings)
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output[OPTION], output[_OF_XDIST] = [*refusals], {**met}
        output[_WARNED] = [*session.config.stash[WARNINGS]]
    _into_junit(session.config, refusals, met)
    if refusals and exitstatus in (0, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """xdist: what a worker refused, and which databases it met."""
    output = getattr(node, "workeroutput", {})
    node.config.stash[REFUSALS].extend(output.get(OPTION, []))
    node.config.stash[DATABASES].update(output.get(_OF_XDIST, {}))
    node.config.stash[WARNINGS].extend(output.get(_WARNED, []))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Each database's verdict in a line where something was refused, then each refusal once, in full."""
    refusals = config.stash[REFUSALS]
    warnings: list[str] = config.stash[WARNINGS]
    for warning in dict.fromkeys(warnings):
        terminalreporter.write_line(
            warning if warning.startswith("rowback") else f"rowback guard: {warning}", yellow=True
        )
    if refusals:
        terminalreporter.section(f"rowback guard: {len(refusals)} refused", red=True, bold=True)
        for name, summary in config.stash[DATABASES].items():
            terminalreporter.write_line(f"{name}: {summary}")
        for refusal in dict.fromkeys(refusals):
            terminalreporter.write_line(refusal)


def _of_children(config: pytest.Config) -> list[str]:
    """What processes that tests started refused. xdist's workers hand theirs up themselves."""
    report = config.stash.get(CHILDREN, None)
    if report is None:
        return []
    reported = children.reported(report)
    shutil.rmtree(report.parent, ignore_errors=True)
    return [refusal for refusal in reported if refusal not in config.stash[REFUSALS]]


def _strictness() -> str:
    guard = _active()
    return guard.policy.strictness if guard else "off"


def _into_junit(config: pytest.Config, refusals: list[str], met: dict[str, str]) -> None:
    from _pytest.junitxml import xml_key  # pytest's own way to a suite's properties is a fixture

    xml = config.stash.get(xml_key, None)
    if xml is not None:
        xml.add_global_property(OPTION, _strictness())
        for name, summary in met.items():
            xml.add_global_property(f"{OPTION}: {name}", summary)
        for refusal in dict.fromkeys(refusals):
            xml.add_global_property(f"{OPTION}: refused", refusal)


def _refused() -> type[BaseException]:
    from guards.guard_session import Refused

    return Refused


def _active() -> Guard | None:
    from guards.guard_session import active

    return active()
