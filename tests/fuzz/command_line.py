"""The same input at the command line, in a process of its own: no traceback, no hang, a documented exit code."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fuzz.batches import scratch_directory
from tests.fuzz.outcomes import KNOWN_EXITS
from tests.fuzz.target import ROOT, Invocation, Target, environment_in

TIMEOUT_S = 60.0
LONGEST_ARGUMENT = 100_000  # Linux takes 128 KiB in one argument


@dataclass(frozen=True)
class Checked:
    """One call. `complaint`: what was wrong with it; empty where nothing was."""

    shown: str
    complaint: str = ""
    details: str = ""


def checked(target: Target, data: Any) -> Checked | None:
    """Call the command line with one input, until a call ends badly; None where it cannot be given there."""
    with scratch_directory() as directory:
        invocation = target.command(data, directory)
        if invocation is None or not _can_be_passed(invocation):
            return None
        try:
            calls = [_called(words, invocation.environment, directory) for words in _calls(invocation)]
        finally:
            invocation.stop()
    return next((call for call in calls if call.complaint), calls[0])


def _calls(invocation: Invocation) -> tuple[tuple[str, ...], ...]:
    return (invocation.arguments, *invocation.also)


def _can_be_passed(invocation: Invocation) -> bool:
    words = (word for call in _calls(invocation) for word in call)
    texts = (*words, *invocation.environment.values())
    return all("\0" not in text and len(text) < LONGEST_ARGUMENT and _is_encodable(text) for text in texts)


def _is_encodable(text: str) -> bool:
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _called(words: tuple[str, ...], settings: Mapping[str, str], directory: Path) -> Checked:
    # Streams are strict, as they are under en_US.UTF-8: C.UTF-8 would let surrogates through.
    environment = {
        **environment_in(directory),
        "PYTHONIOENCODING": "utf-8:strict",
        "PYTHONPATH": str(ROOT),
        **settings,
    }
    command = [sys.executable, "-m", "recovery.cli", *words]
    shown = _shown(words, settings)
    try:
        ran = subprocess.run(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Checked(shown, f"not done within {TIMEOUT_S:.0f} s")
    errors = ran.stderr.decode(errors="backslashreplace")
    if "Traceback (most recent call last)" in errors:
        return Checked(shown, f"a traceback, exit code {ran.returncode}", errors[-3000:])
    if ran.returncode not in KNOWN_EXITS:
        return Checked(shown, f"exit code {ran.returncode}", errors[-3000:])
    return Checked(shown)


def _shown(words: tuple[str, ...], settings: Mapping[str, str]) -> str:
    assigned = [f"{name}={shlex.quote(value)}" for name, value in settings.items()]
    return " ".join([*assigned, "rowback", *map(shlex.quote, words)])
