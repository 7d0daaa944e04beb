"""Stdout and stderr of the command line: what reaches a terminal is harmless to it, and --json holds one document."""

from __future__ import annotations

import io
from typing import Any, TextIO

from guards.plain_text import plain_lines, whole_characters


class PlainStream(io.TextIOBase):
    """A text stream that writes to `wrapped`. `begun`: whether anything was written to it.

    Output for programs (`exact`) passes unchanged, unless a terminal shows it.
    """

    def __init__(self, wrapped: TextIO, *, exact: bool = False) -> None:
        self.wrapped, self.begun = wrapped, False
        self._exact = exact and not wrapped.isatty()

    def write(self, text: str, /) -> int:
        """Write `text`, with everything that a terminal would act on shown as an escape."""
        self.begun = True
        self.wrapped.write(whole_characters(text) if self._exact else plain_lines(text))
        return len(text)

    def flush(self) -> None:
        """Flush the stream behind it."""
        self.wrapped.flush()

    def isatty(self) -> bool:
        """Whether a terminal shows it."""
        return self.wrapped.isatty()

    def fileno(self) -> int:
        """The descriptor of the stream behind it."""
        return self.wrapped.fileno()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.wrapped, name)


def unfiltered(stream: TextIO) -> TextIO:
    """The stream behind `stream`, for what moves a terminal's cursor itself and escapes every text it shows."""
    return stream.wrapped if isinstance(stream, PlainStream) else stream
