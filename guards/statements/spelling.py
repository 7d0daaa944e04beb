"""Driver spellings (`%s`, `%(name)s`, `%%`, `:name`) as the server would see them."""

from __future__ import annotations

import re

# Strings, quoted names, comments and dollar quotes are passed over; placeholders elsewhere are counted.
_TOKENS = re.compile(
    r"""
    (?P<keep>'(?:[^'\\]|\\.|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/ | (?P<tag>\$[A-Za-z_]*\$).*?(?P=tag) | ::)
    | (?P<percent>%%)
    | %(?:\((?P<named>[^)]*)\))?[sbt]
    | (?<![:\w]):(?P<colon>[A-Za-z_]\w*)
    """,
    re.VERBOSE | re.DOTALL,
)


PLACEHOLDER = re.compile(r"%(?:\([^)]*\))?[sbt]|%%|(?<![:\w]):[A-Za-z_]")


def as_the_server_sees_it(text: str) -> str:
    """The text with numbered parameters. Equal names share a number, as drivers send them."""
    numbers: dict[str, int] = {}

    def numbered(found: re.Match[str]) -> str:
        if found["keep"] is not None:
            return found["keep"].replace("%%", "%")
        if found["percent"]:
            return "%"
        name = found["named"] or found["colon"] or f"#{len(numbers)}"
        return f"${numbers.setdefault(name, len(numbers) + 1)}"

    return _TOKENS.sub(numbered, text)
