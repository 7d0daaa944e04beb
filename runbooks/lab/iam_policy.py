"""IAM's evaluation of one identity policy: explicit deny, then allow, else an implicit deny.

As the IAM user guide describes it ("Policy evaluation logic"), with the condition operators that rowback's policy uses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Context = Mapping[str, Sequence[str]]  # condition key → its values in this request; absent where the request has none


class Authorization(StrEnum):
    """What IAM's simulator calls the outcome."""

    ALLOWED = "allowed"
    EXPLICIT_DENY = "explicitDeny"
    IMPLICIT_DENY = "implicitDeny"


@dataclass(frozen=True)
class IdentityPolicy:
    """A policy document."""

    statements: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> IdentityPolicy:
        """The policy of a JSON document. Raises KeyError where it has no statements."""
        statements = document["Statement"]
        return cls(tuple(statements if isinstance(statements, list) else [statements]))

    def without(self, action: str) -> IdentityPolicy:
        """The same, with one action taken out of every statement that allows it."""
        return IdentityPolicy(
            tuple(
                {**each, "Action": [name for name in _listed(each["Action"]) if name != action]}
                if each["Effect"] == "Allow"
                else each
                for each in self.statements
            )
        )

    def decide(self, action: str, resource: str, context: Context) -> Authorization:
        """What becomes of `action` on one resource (an ARN, or `*` where the action names none)."""
        effects = {
            each["Effect"]
            for each in self.statements
            if _names(each["Action"], action, any_case=True)
            and _names(each["Resource"], resource)
            and _holds(each.get("Condition", {}), context)
        }
        if "Deny" in effects:
            return Authorization.EXPLICIT_DENY
        return Authorization.ALLOWED if "Allow" in effects else Authorization.IMPLICIT_DENY


def _listed(value: str | Sequence[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _names(patterns: str | Sequence[str], name: str, *, any_case: bool = False) -> bool:
    return any(_like(pattern, name, any_case=any_case) for pattern in _listed(patterns))


def _like(pattern: str, value: str, *, any_case: bool = False) -> bool:
    """IAM's own wildcards: `*` for any text, `?` for one character; nothing else is special."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, value, re.IGNORECASE | re.DOTALL if any_case else re.DOTALL) is not None


_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda wanted, value: wanted == value,
    "StringLike": _like,
    "Bool": lambda wanted, value: wanted.lower() == value.lower(),
    "ArnLike": _like,
}


def _holds(condition: Mapping[str, Mapping[str, str | Sequence[str]]], context: Context) -> bool:
    return all(
        _compares(operator, _listed(wanted), context.get(key))
        for operator, keys in condition.items()
        for key, wanted in keys.items()
    )


def _compares(operator: str, wanted: Sequence[str], values: Sequence[str] | None) -> bool:
    """One key of a condition. An absent key fails it, but one that is asked "for all values" of it."""
    quantifier, _, name = operator.rpartition(":")
    test = _OPERATORS[name]
    if quantifier == "ForAllValues":
        return all(any(test(each, value) for each in wanted) for value in values or ())
    return values is not None and any(test(each, value) for each in wanted for value in values)
