"""Runs a program until it ends, or until the process that started this one is gone. Standard library only: a script.

    python tunnel_keeper.py PROGRAM ARGUMENT …

Its standard input is a pipe whose other end that process holds; the pipe ends with it, also where it is killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

GRACE_S = 3.0


def main(arguments: list[str]) -> int:
    """The program's exit code."""
    try:
        program = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        print(error, file=sys.stderr)  # noqa: T201 (what the starting process shows)
        return 127
    threading.Thread(target=_end_with_input, args=(program,), daemon=True).start()
    code = program.wait()
    _signal(program, signal.SIGKILL)  # what it started may listen on
    return code


def _end_with_input(program: subprocess.Popen[bytes]) -> None:
    while os.read(0, 1024):
        pass
    for number in (signal.SIGTERM, signal.SIGKILL):
        _signal(program, number)
        try:
            program.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            continue


def _signal(program: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To all processes of its group, which outlive it."""
    try:
        os.killpg(program.pid, number)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
