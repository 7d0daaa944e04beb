"""Imported by Python itself in children of a guarded process.

Guards them when they import a driver, and lets their own sitecustomize run. Nothing but the standard library is loaded
before: the child may be another Python altogether.
"""

import importlib.machinery
import importlib.util
import os
import sys


class _OnDriver:
    """Stands first on sys.meta_path until a driver is imported; the guard then takes its place."""

    @staticmethod
    def find_spec(fullname, path=None, target=None):
        if fullname == "subprocess":
            return _OnDriver._of_subprocess(path, target)
        if fullname in ("psycopg", "psycopg2", "asyncpg"):
            sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not _OnDriver]
            _guard()
            for finder in sys.meta_path:
                spec = finder.find_spec(fullname, path, target) if hasattr(finder, "find_spec") else None
                if spec is not None:
                    return spec
        return None

    @staticmethod
    def _of_subprocess(path, target):
        """What a child starts is guarded, too, whatever environment it gives (tox and its like give their own)."""
        spec = importlib.machinery.PathFinder.find_spec("subprocess", path, target)
        load = spec.loader.exec_module

        def loaded(module):
            load(module)
            import rowback_carry

            rowback_carry.install()

        spec.loader.exec_module = loaded
        return spec


def _guard():
    home = os.environ.get("ROWBACK_GUARD_HOME", "")
    if home and home not in sys.path:
        sys.path.append(home)
    stands = False
    try:
        import guards

        guards.enable(os.environ["ROWBACK_GUARD"])
        stands = True
    finally:
        if not stands:  # whatever keeps the guard from standing ends the child: whoever imports may swallow what it is
            why = sys.exc_info()[1]
            print(f"rowback guard: this process cannot be guarded: {why!r}; it is ended", file=sys.stderr)  # noqa: T201
            sys.stderr.flush()
            os._exit(21)


def _next():
    own_directory = os.path.dirname(__file__)
    others = [path for path in sys.path if os.path.abspath(path or ".") != own_directory]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec and spec.loader:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if os.environ.get("ROWBACK_GUARD") in ("dev", "ci"):
    sys.meta_path.insert(0, _OnDriver)
_next()
