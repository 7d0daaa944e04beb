"""Secrets that this process knows of, masked wherever text leaves it. Knowing comes first; patterns catch the rest."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

MASK = "***"
SHORTEST = 8
_NAMES = re.compile(r"PASSWORD|PASSWD|PGPASS|SECRET|TOKEN|API_?KEY|PRIVATE_KEY|CREDENTIAL", re.IGNORECASE)
_DSN = re.compile(r"(?P<before>\b\w+://[^\s:/@]+:)[^\s\"]+(?=@)")  # up to the last @: a password may hold one
_WORD = r"(?:'(?:[^']|'')*'|\"[^\"]*\"|[^\s,;'\"]+)"
# An ARN holds `secret:NAME`, which is none; nor is the ARN itself, or a JSON value that says nothing.
_PAIR = re.compile(
    r"(?P<before>(?:password|passwd|pwd|secret|token|api_?key|access_?key)\w{0,64}(?<!_arn)[\"']?\s*"
    rf"(?:=\s*|:\s+|:(?=[\"'])))(?!(?:null|true|false)(?:[\s,;}})\]]|$))(?P<value>{_WORD})",
    re.IGNORECASE,
)
_OPTION = re.compile(rf"(?P<before>--password(?:=|\s+)|\bBearer\s+)(?P<value>{_WORD})", re.IGNORECASE)
_SQL = re.compile(r"(?P<before>\bpassword\s+)'(?:[^']|'')*'", re.IGNORECASE)


def secrets_in(environment: Mapping[str, str]) -> set[str]:
    """Values of variables that are named like secrets, and passwords in values that are DSNs.

    A value that is a plain word (letters alone, or numbers alone) is none that could be masked: it stands in names of
    instances, tables and columns, and masking those would change what is meant.
    """
    secrets = {value for name, value in environment.items() if _NAMES.search(name)}
    for value in environment.values():
        secrets |= {password for password in re.findall(r"\w+://[^\s:/@]+:([^\s\"]+)@", value)}
        secrets |= set(re.findall(r"\bpassword=([^\s']+)", value))
    return {value for value in secrets if _is_secret(value)}


def named_like_secret(name: str) -> bool:
    """Whether a variable of this name holds a secret, as far as names tell."""
    return bool(_NAMES.search(name))


def _is_secret(value: str) -> bool:
    kinds = (str.islower, str.isupper, str.isdigit, lambda letter: not letter.isalnum() and letter not in "-_.")
    return len(value) >= SHORTEST and sum(any(map(kind, value)) for kind in kinds) > 1


_SECRETS: set[str] = set()


def remember(secret: str) -> None:
    """A secret that is not in the environment, such as a password out of Secrets Manager: masked from now on."""
    if secret:
        _SECRETS.add(secret)


def _masked(match: re.Match[str]) -> str:
    """JSON stays JSON."""
    quote = '"' if match.groupdict().get("value", "").startswith('"') else ""
    return f"{match['before']}{quote}{MASK}{quote}"


class Redactor:
    """`redactor(text)`: the text without secrets. `keep(secret)`: one more to mask."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets = set(secrets)

    @classmethod
    def of_this_process(cls) -> Redactor:
        """Of what the environment holds, and of what was remembered."""
        return cls(secrets_in(os.environ) | _SECRETS)

    def keep(self, secret: str) -> None:
        """Mask this text from now on."""
        if secret:
            self._secrets.add(secret)

    def __call__(self, text: str) -> str:
        """Longer secrets first: one may be part of another."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, MASK)
        for pattern in (_DSN, _PAIR, _OPTION, _SQL):
            text = pattern.sub(_masked, text)
        return text

    def within(self, value: Any) -> Any:
        """The same of every text in a JSON value; keys stay."""
        match value:
            case str():
                return self(value)
            case Mapping():
                return {key: self.within(each) for key, each in value.items()}
            case list() | tuple():
                return [self.within(each) for each in value]
        return value
