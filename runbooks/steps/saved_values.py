"""What is kept of a step's output: the values that it saves, checked and without secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from runbooks.steps.book_step import Effects
from runbooks.steps.surroundings import StepError, Surroundings


def saved_of(effects: Effects, whole: str, last: str, around: Surroundings) -> dict[str, str]:
    """The values that a step saves: what is expected may stand anywhere, what is saved is the last command's.

    Raises StepError where something is not in it, or holds a secret.
    """
    expected = effects.expects
    if expected and not re.search(expected, whole, re.MULTILINE):
        raise StepError(f"its output does not show what was expected: {expected}")
    return _masked_values(_saved(effects, last, around.overruled), around)


def _masked_values(saved: list[tuple[str, str]], around: Surroundings) -> dict[str, str]:
    """What a run can keep: its journal holds no secret, and a masked value is another value."""
    for name, value in saved:
        if around.redact(value) != value:
            raise StepError(f"what it would save as {name} holds a secret, and runs keep no secrets")
        if "\0" in value:
            raise StepError(f"what it would save as {name} holds a NUL, which no variable can")
    return dict(saved)


def _saved(effects: Effects, text: str, overruled: Mapping[str, str]) -> list[tuple[str, str]]:
    saved_values: list[tuple[str, str]] = []
    for name, path in effects.saves:
        if name.upper() in overruled:
            continue
        if path == "proposal.target_time":
            _refuse_choice(text)
        saved = _of_choice(text, overruled) if path == "proposal.tables" else None
        saved_values.append((name.upper(), saved or (_at(text, path) if path else text.strip())))
        if not saved_values[-1][1]:
            raise StepError(f"there is no value to save as {name}")
    return saved_values


def _refuse_choice(text: str) -> None:
    """Where several incidents are possible, none is taken for the one that is meant."""
    if choices := _choices(text):
        times = "; ".join(f"{each['target_time']} before {each['what']}" for each in choices)
        raise StepError(f"{len(choices)} incidents are possible, and one has to be said with -p at=TIME: {times}")


def _of_choice(text: str, overruled: Mapping[str, str]) -> str | None:
    """The tables of those incidents whose target time was said, of several that are possible."""
    chosen = [each for each in _choices(text) if each["target_time"] in overruled.values()]
    return "\n".join(dict.fromkeys(table for each in chosen for table in each["tables"])) or None


def _choices(text: str) -> list[dict[str, Any]]:
    try:
        return list((json.loads(text).get("proposal") or {}).get("choices", ()))
    except (ValueError, AttributeError, RecursionError):
        return []


def _at(text: str, path: str) -> str:
    """The value at `a.b.0` of a JSON document."""
    try:
        value = json.loads(text)
        for part in path.split("."):
            value = value[int(part)] if isinstance(value, list) else value[part]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise StepError(f"its output has no {path}") from error
    if isinstance(value, list):
        return "\n".join(map(str, value))
    return "" if value is None else str(value)
