"""What is fuzzed: a target makes inputs from a random source, and calls the product with one of them."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import click

from guards.refusal import GuardError
from recovery.errors import RowbackError
from recovery.output import PlainStream

ROOT = Path(__file__).parents[2]
PRODUCT = tuple(f"{ROOT / room}{os.sep}" for room in ("recovery", "guards", "runbooks"))
SEEDS = Path(__file__).parent / "seeds"
# Port 9 (discard) refuses connections; nothing that is fuzzed reaches AWS.
OFFLINE: Mapping[str, str] = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ACCESS_KEY_ID": "fuzz",
    "AWS_SECRET_ACCESS_KEY": "fuzz",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_MAX_ATTEMPTS": "1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "PGCONNECT_TIMEOUT": "2",
    "RES_OPTIONS": "timeout:1 attempts:1",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
}
# What users are meant to meet. click's own are turned into usage errors by recovery.cli.
REFUSALS = (RowbackError, GuardError, click.UsageError)


@dataclass(frozen=True)
class Invocation:
    """A call of the command line. `environment`: on top of OFFLINE; `also`: further calls, one after the other; `stop`:
    called when all are over."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    stop: Callable[[], None] = lambda: None
    also: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Target:
    """One parser.

    `make`: an input; the same random source gives the same one. `act`: calls the product in this process, with a
    directory for files; may raise REFUSALS and nothing else. `weight`: its share of the inputs. `command`: the same
    check at the command line, in an empty directory; None where an input cannot be given there. `prepare`: called once
    before the first input; what it starts, it ends at exit. Raises Unavailable.
    """

    name: str
    make: Callable[[Random], Any]
    act: Callable[[Any, Path], None]
    weight: int
    command: Callable[[Any, Path], Invocation | None] = lambda data, directory: None
    prepare: Callable[[], None] = lambda: None


class Unavailable(Exception):
    """A target cannot be fuzzed on this machine; the text says why."""


def random_of(target: Target, seed: int, index: int) -> Random:
    """The random source of one input."""
    return Random(f"{seed} {target.name} {index}")  # noqa: S311 (repeatable, not secret)


def input_of(target: Target, seed: int, index: int) -> Any:
    """One input, by its number."""
    return target.make(random_of(target, seed, index))


def environment_in(directory: Path) -> dict[str, str]:
    """The whole environment of a product call: nothing of the caller's but the way to programs."""
    return {
        **OFFLINE,
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "ROWBACK_HOME": str(directory / "home"),
        "ROWBACK_CONFIG": str(directory / "rowback.toml"),
        "ROWBACK_GUARD": "off",
    }


def argument(text: str) -> str:
    """`text` as an operating system hands it to a program: no NUL, and bytes that are no UTF-8 as surrogates."""
    return os.fsdecode(text.replace("\0", "").encode("utf-8", "surrogatepass"))


def printed(text: str) -> None:
    """What a command writes to stdout has to be UTF-8, once the streams of the command line have escaped the rest.
    Raises UnicodeEncodeError."""
    out = io.StringIO()
    PlainStream(out, exact=True).write(text)
    out.getvalue().encode()
