"""Changes to JSON documents that keep them JSON: fields altered, removed, doubled, of another type, moved, nested."""

from __future__ import annotations

import marshal
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from tests.fuzz.mutations import changed

VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2**31,
    2**63,
    2**64,
    -(2**63) - 1,
    10**30,
    1.5,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "0",
    "-1",
    "x",
    "\ud800",
    "\0",
    "a\nb",
    "\u202e",
    "\x1b[2J",
    "9" * 30,
    "a" * 5000,
    "null",
    "true",
    "2026-11-22T14:20:00Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-14:00",
    "2026-02-30",
    [],
    {},
    [None],
    [[]],
    ["x"],
    [1, "x"],
    {"": None},
    {"x": 1},
    [["x", "x"]],
)
DEPTHS = (2, 20, 120, 300)
Place = tuple[Any, Any]  # a container, and the key or index of one of its values
Change = Callable[[Random, Any, Sequence[Any]], None]


def copied(document: Any) -> Any:
    """A deep copy."""
    return marshal.loads(marshal.dumps(document))  # noqa: S302 (our own bytes, and ten times as fast as copy)


def mutated_document(rng: Random, seeds: Sequence[Any], pool: Sequence[Any] = ()) -> Any:
    """One of `seeds` after one or several changes. `pool`: values that mean something to the reader."""
    document = [copied(rng.choice(seeds))]  # in a list, so that the whole of it can be replaced as well
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5))):
        rng.choice(_CHANGES)(rng, document, pool)
    return document[0]


def _somewhere(rng: Random, document: Any) -> Place:
    """One place; fields near the root are as likely as the many leaves."""
    container, key = document, 0
    while True:
        value = container[key]
        if not isinstance(value, dict | list) or not value or rng.random() < 0.12:
            return container, key
        container, key = value, rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))


def _replaced(rng: Random, document: Any, pool: Sequence[Any]) -> None:
    container, key = _somewhere(rng, document)
    container[key] = copied(rng.choice(pool if pool and rng.random() < 0.3 else VALUES))


def _removed(rng: Random, document: Any, pool: Sequence[Any]) -> None:
    container, key = _somewhere(rng, document)
    if container is not document:
        del container[key]


def _doubled(rng: Random, document: Any, pool: Sequence[Any]) -> None:
    container, key = _somewhere(rng, document)
    if isinstance(container, dict):
        container[rng.choice((f"{key}_", key.upper(), changed(rng, key)))] = copied(container[key])
    elif container is not document:
        container.insert(rng.randrange(len(container) + 1), copied(container[key]))


def _moved(rng: Random, document: Any, pool: Sequence[Any]) -> None:
    """The value of another place."""
    container, key = _somewhere(rng, document)
    other, its_key = _somewhere(rng, document)
    container[key] = copied(other[its_key])


def _swapped(rng: Random, document: Any, pool: Sequence[Any]) -> None:
    container, key = _somewhere(rng, document)
    if isinstance(container, list) and container is not document:
        at = rng.randrange(len(container))
        container[at], container[key] = container[key], container[at]


def _retyped(rng: Random, document: Any, pool: Sequence[Any]) -> None:
    container, key = _somewhere(rng, document)
    value = container[key]
    match value:
        case bool() | None:
            container[key] = str(value)
        case int() | float():
            container[key] = rng.choice((str(value), -value, value + 1, value * 10**12, float(value), [value]))
        case str():
            container[key] = rng.choice((len(value), [value], {"value": value}, list(value[:50]), value.upper()))
        case list():
            container[key] = rng.choice((len(value), {str(at): each for at, each in enumerate(value)}, value[:1]))
        case _:
            container[key] = rng.choice(([value], list(value.values()), str(value)[:200]))


def _respelled(rng: Random, document: Any, pool: Sequence[Any]) -> None:
    container, key = _somewhere(rng, document)
    if isinstance(container[key], str):
        container[key] = changed(rng, container[key])
    else:
        _replaced(rng, document, pool)


def _nested(rng: Random, document: Any, pool: Sequence[Any]) -> None:
    container, key = _somewhere(rng, document)
    value = container[key]
    for _ in range(rng.choice(DEPTHS) if rng.random() < 0.1 else 1):
        value = [value] if rng.random() < 0.5 else {"x": value}
    container[key] = value


_CHANGES: tuple[Change, ...] = (
    _replaced,
    _replaced,
    _replaced,
    _removed,
    _removed,
    _doubled,
    _moved,
    _swapped,
    _retyped,
    _retyped,
    _respelled,
    _respelled,
    _nested,
)
