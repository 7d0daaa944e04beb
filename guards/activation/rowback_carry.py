"""Processes that a guarded one starts are guarded as well, also where they are given an environment of their own.

The standard library alone: it is loaded in children that have none of rowback's packages.
"""

import os
import subprocess
from functools import wraps

NAMES = ("ROWBACK_GUARD", "ROWBACK_GUARD_REPORT", "ROWBACK_GUARD_HOME", "ROWBACK_GUARD_RUN")
HERE = os.path.dirname(os.path.abspath(__file__))


def carried(environment):
    """`environment` with what makes a Python that is started with it a guarded one."""
    if not os.environ.get("ROWBACK_GUARD"):
        return environment
    text = {os.fsdecode(name): value for name, value in environment.items()}
    ours = {name: os.environ[name] for name in NAMES if name in os.environ}
    paths = [path for path in os.fsdecode(text.get("PYTHONPATH") or "").split(os.pathsep) if path and path != HERE]
    return {**text, **ours, "PYTHONPATH": os.pathsep.join([HERE, *paths])}


def install():
    """Let every process that is started from here with an environment of its own carry it, once."""
    begin = subprocess.Popen.__init__
    if getattr(begin, "_rowback", False):
        return

    @wraps(begin)
    def carrying(self, *arguments, **named):
        if named.get("env") is not None:
            named["env"] = carried(named["env"])
        begin(self, *arguments, **named)

    carrying._rowback = True
    subprocess.Popen.__init__ = carrying
