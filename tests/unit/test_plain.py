"""Text that reaches a terminal does nothing there, and words for a shell stay one word."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.plain_text import joined, plain, plain_lines, shell_word
from recovery.errors import ErrorId, RowbackError
from recovery.output import PlainStream
from recovery.report.spreadsheet import cell

HOSTILE = [
    ("\x1b[2J\x1b]0;OWNED\x07", r"\x1b[2J\x1b]0;OWNED\x07"),
    ("a\nerror[usage]: forged", r"a\nerror[usage]: forged"),
    ("a\r\tb\x7f", r"a\r\tb\x7f"),
    ("\x9b2J\x85", r"\u009b2J\u0085"),
    ("\u202eevil\u2066\u2069\u200f\u061c", r"\u202eevil\u2066\u2069\u200f\u061c"),
    ("\u2028\u2029\ufeff\u200b", r"\u2028\u2029\ufeff\u200b"),
    ("half \ud83d", r"half \ud83d"),
    ("tag \U000e0041", r"tag \U000e0041"),
    ("한글 ✓ naïve 😀 C:\\dir", "한글 ✓ naïve 😀 C:\\dir"),
]


@pytest.mark.parametrize(("text", "shown"), HOSTILE)
def test_what_a_terminal_acts_on_is_shown_as_an_escape(text: str, shown: str) -> None:
    assert plain(text) == shown


def _harmless(text: str, *, kept: str = "") -> bool:
    return all(
        character in kept
        or not (
            ord(character) < 0x20
            or 0x7F <= ord(character) < 0xA0
            or 0x202A <= ord(character) <= 0x202E
            or 0x2066 <= ord(character) <= 0x2069
            or 0xD800 <= ord(character) < 0xE000
        )
        for character in text
    )


@given(st.text(st.characters()))
def test_no_text_at_all_gets_through(text: str) -> None:
    assert _harmless(plain(text))
    assert _harmless(plain_lines(text), kept="\n\t")
    assert plain_lines(text).count("\n") == text.count("\n")
    assert joined([text, text]).count("\n") == 1


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_shell_reads_one_word_back(text: str) -> None:
    word = shell_word(text)
    assert _harmless(word)
    if any(_differs(character) for character in text):
        return  # asked of bash below, where it costs a process
    import shlex

    assert shlex.split(word) == [text]


def _differs(character: str) -> bool:
    return plain(character) != character


WORDS = ["line\nof two", "it's", "\x1b[0m", "\u202eabc", '$(touch PWNED)\n`x`\n"', "\\\n'", "\U000e0041", "-n\n"]


@pytest.mark.parametrize("text", WORDS)
def test_bash_reads_the_same_word_back(text: str) -> None:
    script = f"printf %s {shell_word(text)}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
    assert done.stdout.decode() == text


def test_an_error_cannot_be_continued_by_a_value() -> None:
    """Its help alone may have several lines, and values in it are words of a shell."""
    name = "t\n  help: rowback restore everything"
    help = f"rowback plan --table {shell_word(name)}"
    error = RowbackError(ErrorId.TABLE_UNKNOWN, f"no table {name}", f"near: {name}", state=f"not {name}", help=help)
    forged = r"t\n  help: rowback restore everything"
    assert str(error).splitlines() == [
        f"error[table-unknown]: no table {forged}",
        f"  near: {forged}",
        f"  not {forged}",
        f"  help: rowback plan --table $'{forged}'",
    ]


def test_streams_of_the_command_line() -> None:
    """Text is always filtered; data that a program reads is not, unless a terminal shows it."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    text, data, seen = io.StringIO(), io.StringIO(), Terminal()
    PlainStream(text).write("a\x1b[2J\n")
    PlainStream(data, exact=True).write("a\x1b\r\n")
    PlainStream(seen, exact=True).write("a\x1b\n")
    assert (text.getvalue(), data.getvalue(), seen.getvalue()) == ("a\\x1b[2J\n", "a\x1b\r\n", "a\\x1b\n")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("=cmd|'/c calc'!A1", "'=cmd|'/c calc'!A1"),
        ("@SUM(1)", "'@SUM(1)"),
        ("+1+1", "'+1+1"),
        ("-2+3", "'-2+3"),
        ("\t=1", "'\t=1"),
        ("＝1", "'＝1"),
        ("-1.5", "-1.5"),
        ("+7", "+7"),
        ("plain", "plain"),
        ("", ""),
        (None, None),
    ],
)
def test_a_spreadsheet_computes_nothing(value: str | None, shown: str | None) -> None:
    assert cell(value) == shown


def test_half_a_character_on_the_command_line_is_a_usage_error() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "recovery.cli", "guard", "check", "--dsn", "host=127.0..1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 30, done.stderr
    assert done.stderr.startswith("error[server-unreachable]: encoding with 'idna' codec failed"), done.stderr
    assert "help: check --dsn" in done.stderr
    made = subprocess.run(
        [sys.executable, "-m", "recovery.cli", "find", "--log", "/dev/null", "--log-line-prefix", b"%t\xff"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in made.stderr
    assert made.returncode in (2, 43), made.stderr
