"""Smaller inputs of the same kind: parts are left out as long as the outcome stays what it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

from tests.fuzz.structures import copied

PATIENCE_S = 4.0
Same = Callable[[Any], bool]


def reduced(data: Any, same: Same) -> Any:
    """The smallest that was met within PATIENCE_S. `same`: whether an input is still of the kind in question."""
    end = time.monotonic() + PATIENCE_S
    smaller = True
    while smaller:
        smaller = False
        for candidate in _smaller(data):
            if time.monotonic() > end:
                return data
            if same(candidate):
                data, smaller = candidate, True
                break
    return data


def _smaller(data: Any) -> Iterator[Any]:
    """Variants with something left out, the boldest first."""
    match data:
        case str() | bytes():
            yield from _shorter(data)
        case dict():
            yield from ({name: data[name] for name in data if name != key} for key in data)
            yield from ({**data, key: each} for key in data for each in _smaller(data[key]))
        case list():
            yield from _shorter(data)
            yield from ([*data[:at], each, *data[at + 1 :]] for at in range(len(data)) for each in _smaller(data[at]))
        case tuple():
            yield from ((*data[:at], each, *data[at + 1 :]) for at in range(len(data)) for each in _smaller(data[at]))
    if is_dataclass(data) and not isinstance(data, type):
        names = [field.name for field in fields(data)]
        yield from (replace(data, **{name: each}) for name in names for each in _smaller(getattr(data, name)))


def _shorter(data: Any) -> Iterator[Any]:
    size = len(data)
    while size:
        for start in range(0, len(data), size):
            yield copied(data[:start] + data[start + size :])
        size //= 2
