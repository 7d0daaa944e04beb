"""Entry point of the command. rowback's packages have common names.

Where sys.path holds another package of such a name first, this refuses in one line before it imports any. It uses the
standard library alone.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

OURS = {"recovery": "cli.py", "guards": "verdict.py", "runbooks": "processes.py"}  # a file that tells ours


def stranger(name: str) -> Path | None:
    """The directory of another package of that name which Python would import instead of rowback's, or None."""
    spec = importlib.util.find_spec(name)
    places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    if not places:
        return Path(spec.origin) if spec and spec.origin else None
    return None if any(is_ours(name, place) for place in places) else places[0]


def is_ours(name: str, place: Path) -> bool:
    """Whether a directory is rowback's package of that name."""
    return (place / OURS[name]).is_file() and (place / "py.typed").is_file()


def main() -> None:
    """The command `rowback`."""
    for name in OURS:
        if place := stranger(name):
            sys.stderr.write(
                f"error[usage]: rowback's own package '{name}' is hidden by another one: {place}\n"
                "  nothing was done\n"
                "  help: begin it where PYTHONPATH does not lead there: env -u PYTHONPATH rowback …; or rename that"
                " package\n"
            )
            sys.exit(2)
    from recovery.cli import main as rowback

    rowback()
