"""pytest: every run is guarded, says so in its header, and fails at its end if anything was refused.

Options (pyproject, pytest.ini): `rowback_guard = dev | ci | off`. `ci` is taken by itself where CI is set.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

REFUSALS = pytest.StashKey[list[str]]()
OPTION = "rowback_guard"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The one setting."""
    parser.addini(OPTION, "dev, ci or off (default: ci where the variable CI is set, else dev)", default="")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Before any conftest connects anywhere."""
    config.stash[REFUSALS] = []
    strictness = _strictness(config)
    if strictness == "off":
        return
    if strictness not in ("dev", "ci"):
        raise pytest.UsageError(f"{OPTION} = {strictness}: say dev, ci or off")
    try:
        import psycopg  # noqa: F401 (nothing to guard without it)
    except ImportError:
        return
    import guards

    guards.enable("ci" if strictness == "ci" else "dev")


def pytest_report_header(config: pytest.Config) -> str:
    """Nobody shall wonder whether it is on."""
    return f"rowback guard: {_strictness(config)}"


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A refusal that a clean-up swallowed fails the run all the same; a worker of xdist hands its own up."""
    from guards.session import active

    guard = active()
    found = session.config.stash[REFUSALS]
    found.extend(guard.refusals if guard else [])
    if found and (output := getattr(session.config, "workeroutput", None)) is not None:
        output[OPTION] = [*found]
    if found and exitstatus in (0, pytest.ExitCode.NO_TESTS_COLLECTED):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """xdist: what a worker refused."""
    node.config.stash[REFUSALS].extend(getattr(node, "workeroutput", {}).get(OPTION, []))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Each refusal once, in full."""
    refusals: list[str] = config.stash[REFUSALS]
    if refusals:
        terminalreporter.section(f"rowback guard: {len(refusals)} refused", red=True, bold=True)
        for refusal in dict.fromkeys(refusals):
            terminalreporter.write_line(refusal)


def _strictness(config: pytest.Config) -> str:
    said = str(config.getini(OPTION)).strip().lower()
    return said or ("ci" if os.environ.get("CI") else "dev")
