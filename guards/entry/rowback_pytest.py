"""What pytest loads: the guard and the databases for tests, unless the project has a package `guards` of its own.

`-p no:rowback` leaves all of it out.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from rowback_entry import is_ours, stranger

WAYS = (
    "its tests run without rowback: pytest -p no:rowback (or addopts in pytest's configuration); with it once that"
    " package has another name"
)


def _refuse(place: Path) -> None:
    raise pytest.UsageError(f"rowback: its own package 'guards' and the project's hide each other: {place}; {WAYS}")


if hidden_by := stranger("guards"):
    _refuse(hidden_by)
pytest_plugins = ["guards.pytest_plugin", "guards.isolation.fixtures"]


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Tests would import ours instead of the one that lies beside them."""
    root = early_config.rootpath
    for place in dict.fromkeys([root, root / "src", Path.cwd(), *map(Path, early_config.getini("pythonpath"))]):
        package = (place if place.is_absolute() else root / place) / "guards"
        if package.is_dir() and next(package.glob("*.py"), None) and not is_ours("guards", package):
            _refuse(package)
