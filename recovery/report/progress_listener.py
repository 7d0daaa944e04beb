"""Who watches a run: a live line on a terminal, plain lines with a heartbeat elsewhere. Everything goes to stderr."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO

from guards.plain_text import plain
from recovery.output import unfiltered

if TYPE_CHECKING:
    from rich.status import Status

    from recovery.workflow.recovery_run import Listener

HEARTBEAT_S = 60.0


def escape(text: str) -> str:
    """Text in which rich sees no markup, and the terminal nothing to act on."""
    from rich.markup import escape as escaped

    return escaped(plain(text))


def listener() -> Listener:
    """The fitting one for this process's stderr."""
    return LiveListener() if sys.stderr.isatty() else PlainListener(sys.stderr)


class PlainListener:
    """One line a step, begun at once and ended with its time; another one a minute while a step takes long."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._spoke_at, self._open = out, time.monotonic(), False

    def step_started(self, name: str, title: str) -> None:
        """Begin the line."""
        self._say(f"{title} … ", end="")
        self._open = True

    def progress(self, text: str, seconds: float) -> None:
        """Say something at most once a heartbeat: a log never falls silent."""
        if time.monotonic() - self._spoke_at >= HEARTBEAT_S:
            self._close()
            self._say(f"  {text}, {seconds:.0f} s")

    def notice(self, text: str) -> None:
        """Say it at once, on a line of its own."""
        self._close()
        self._say(f"  {text}")

    def step_done(self, name: str, text: str, seconds: float) -> None:
        """End the line."""
        self._say(("" if self._open else f"{name} … ") + f"{seconds:.1f} s" + (f": {text}" if text else ""))
        self._open = False

    def step_failed(self, name: str, text: str) -> None:
        """End the line with what went wrong."""
        self._say(("" if self._open else f"{name} … ") + f"stopped: {text}")
        self._open = False

    def _close(self) -> None:
        if self._open:
            self._say("")
            self._open = False

    def _say(self, line: str, end: str = "\n") -> None:
        self._spoke_at = time.monotonic()
        print(plain(line), end=end, file=self._out, flush=True)


class LiveListener:
    """A spinner with the current step and its status; finished steps stay above it."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(file=unfiltered(sys.stderr), highlight=False)
        self._status: Status | None = None
        self._title = ""

    def step_started(self, name: str, title: str) -> None:
        """Start the spinner."""
        self._title = escape(title)
        self._status = self._console.status(self._title)
        self._status.start()

    def progress(self, text: str, seconds: float) -> None:
        """Update the spinner's text."""
        if self._status:
            self._status.update(f"{self._title} [dim]({escape(text)}, {seconds:.0f} s)[/dim]")

    def notice(self, text: str) -> None:
        """A line above the spinner."""
        self._console.print(f"  {escape(text)}", soft_wrap=True)

    def step_done(self, name: str, text: str, seconds: float) -> None:
        """Leave a line behind."""
        self._stop()
        self._console.print(
            f"[green]✓[/green] {self._title} [dim]{seconds:.1f} s[/dim]  {escape(text)}", soft_wrap=True
        )

    def step_failed(self, name: str, text: str) -> None:
        """Leave the trouble behind."""
        self._stop()
        self._console.print(f"[red]✗[/red] {self._title}: {escape(text)}", soft_wrap=True)

    def _stop(self) -> None:
        if self._status:
            self._status.stop()
            self._status = None
