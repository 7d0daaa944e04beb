"""unittest, and Django's runner on top of it: a run in which anything was refused has failed, swallowed or not."""

from __future__ import annotations

import unittest
from functools import wraps
from typing import Any

from guards.guard_session import active

_INSTALLED = "_rowback_guarded"


def install() -> None:
    """Stand in at the end of each run, once."""
    result: Any = unittest.TestResult
    if getattr(result, _INSTALLED, False):
        return
    stop = result.stopTestRun

    @wraps(stop)
    def guarded_stop(self: Any) -> None:
        guard = active()
        for refusal in dict.fromkeys(guard.refusals if guard else ()):
            self.errors.append((unittest.FunctionTestCase(_refused, description="rowback guard"), refusal))
        stop(self)

    result.stopTestRun = guarded_stop
    setattr(result, _INSTALLED, True)


def _refused() -> None:
    """Stands for the refusal in unittest's list of errors."""
