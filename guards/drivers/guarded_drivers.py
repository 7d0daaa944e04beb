"""The drivers that are guarded: the registry, and what stands in front of each once it is imported."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from guards.drivers.uncovered import UNCOVERED, name_uncovered
from guards.refusal import GuardError

GUARDED = {"psycopg": "psycopg3", "psycopg2": "psycopg2_", "asyncpg": "asyncpg_", "unittest": "unittest_"}


def install() -> None:
    """Stand in front of everything that is imported already, and of the rest once it is.

    Raises GuardError(driver-unknown) for a driver that is built otherwise than known: no run without a guard.
    """
    for driver in GUARDED:
        if driver in sys.modules:
            _guard(driver)
    for driver in UNCOVERED:
        if driver in sys.modules:
            name_uncovered(driver)
    if not any(isinstance(finder, _OnImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _OnImport())


def _guard(driver: str) -> None:
    try:
        importlib.import_module(f"guards.drivers.{GUARDED[driver]}").install()
    except (AttributeError, ImportError) as error:
        version = getattr(sys.modules.get(driver), "__version__", "of an unknown version")
        raise GuardError(
            "driver-unknown",
            f"{driver} {version} is built otherwise than the guard knows it: {error}",
            state="nothing runs unguarded",
            help=f"install a version of {driver} that rowback's own tests run with,"
            " or leave the guard out: pytest -p no:rowback",
        ) from error


class _OnImport(MetaPathFinder):
    """Lets a driver load as ever, and stands in front of it then."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in GUARDED and fullname not in UNCOVERED:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _ThenGuard(spec.loader)
        return spec


class _ThenGuard(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ in UNCOVERED:
            name_uncovered(module.__name__)
        self._loader.exec_module(module)
        if module.__name__ in GUARDED:
            _guard(module.__name__)
