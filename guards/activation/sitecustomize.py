"""Imported by Python itself in children of `rowback guard run`: guards them, then lets their own sitecustomize run."""

import importlib.machinery
import importlib.util
import os
import sys


def _guard() -> None:
    try:
        import guards

        guards.enable(os.environ["ROWBACK_GUARD"])  # type: ignore[arg-type]
    except Exception as error:  # noqa: BLE001 (whatever keeps the guard from standing must end the child, not pass)
        print(f"rowback guard: this process cannot be guarded: {error!r}; it is ended", file=sys.stderr)  # noqa: T201
        os._exit(21)


def _next() -> None:
    here = os.path.dirname(__file__)
    others = [path for path in sys.path if os.path.abspath(path or ".") != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec and spec.loader:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if os.environ.get("ROWBACK_GUARD") in ("dev", "ci"):
    _guard()
_next()
