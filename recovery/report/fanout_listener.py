"""Passes the progress of a recovery on to the terminal, the status page on disk, and the notifications."""

from __future__ import annotations

from collections.abc import Callable

from recovery.report.notifier import Notifier
from recovery.workflow.recovery_run import Listener


class FanoutListener:
    """Passes each event on: to the terminal first, then to the page and the others."""

    def __init__(self, terminal: Listener, notifier: Notifier, refresh: Callable[[], None]) -> None:
        self._terminal, self._notifier, self._refresh = terminal, notifier, refresh

    def step_started(self, name: str, title: str) -> None:
        """A phase begins."""
        self._terminal.step_started(name, title)
        self._notifier.tell("phase", title)
        self._refresh()

    def progress(self, text: str, seconds: float) -> None:
        """Only for the terminal."""
        self._terminal.progress(text, seconds)

    def notice(self, text: str) -> None:
        """Show a message at once."""
        self._terminal.notice(text)
        self._notifier.tell("phase", text)

    def step_done(self, name: str, text: str, seconds: float) -> None:
        """A phase is over; the page says so when the next one begins."""
        self._terminal.step_done(name, text, seconds)

    def step_failed(self, name: str, text: str) -> None:
        """Show the step's failure; the caller reports what it means for the case."""
        self._terminal.step_failed(name, text)
        self._refresh()
