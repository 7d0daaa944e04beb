"""Plan files and the approvals beside them."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from recovery.commands.restore import read_plan
from recovery.model.recovery_plan import RecoveryPlan
from recovery.report.report_text import plan_text
from recovery.workflow.approvals import approvals_beside
from tests.fuzz.mutations import mutated
from tests.fuzz.structures import mutated_document
from tests.fuzz.target import SEEDS, Invocation, Target, printed

CASES = ("restored", "undone", "compared")
APPROVAL = {
    "digest": "49fe4400d140a39354146c893474f180dd865ebc600a84dc8f4b4e93ff9eb974",
    "by": "ann",
    "note": "",
    "person": {"account": "ann", "aws": "arn:aws:sts::123456789012:assumed-role/dba/ann"},
    "at": "2026-11-29T22:07:24.117026Z",
}
POOL: tuple[Any, ...] = (
    "missing",
    "repair",
    "replace",
    "beside",
    "named",
    "dump",
    "copy",
    {"schema_name": "x", "name": "y\nz"},
    "O",
    "A",
    "parents first",
    "held back by session_replication_role",
    [1, 2],
    [[3, 1]],
    "principal",
    {"needed": 9, "by": "account"},
)
TOKENS = ('"', "{", "}", "[", "]", ":", ",", "null", "NaN", "\\ud800", "\\u0000", "1e999", "schema_version", "digest")


@cache
def documents() -> tuple[Any, ...]:
    """Plans as they were made, of several modes."""
    opened = [json.loads((SEEDS / f"case-{name}.json").read_text())[0] for name in CASES]
    return tuple(data["plan"] for _, _, data in opened)


@cache
def _texts() -> tuple[str, ...]:
    return tuple(RecoveryPlan.model_validate(each).to_file() for each in documents())


def _make(rng: Random) -> str | dict[str, Any]:
    """Half of them with the digest that fits: what a person with a text editor and sha256 can make."""
    if rng.random() < 0.3:
        return mutated(rng, _texts(), TOKENS)
    document = mutated_document(rng, documents(), POOL)
    return {"fields": document, "sign": rng.random() < 0.8}


def _written(data: str | dict[str, Any], path: Path) -> Path:
    text = data if isinstance(data, str) else _text(data["fields"], sign=data["sign"])
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return path


def _text(fields: Any, *, sign: bool) -> str:
    digest = "0" * 64
    if sign:
        with suppress(ValueError, ArithmeticError, RecursionError):  # where it is no plan
            digest = RecoveryPlan.model_validate_json(json.dumps(fields)).digest
    return json.dumps({"digest": digest, **fields} if isinstance(fields, dict) else fields)


def _act(data: str | dict[str, Any], directory: Path) -> None:
    plan = read_plan(_written(data, directory / "plan.json"))
    printed(plan_text(plan))
    printed(plan.to_file())
    assert plan.whole is not None
    assert plan.scope is not None


def _command(data: str | dict[str, Any], directory: Path) -> Invocation:
    _written(data, directory / "plan.json")
    return Invocation(("approve", "plan.json", "--by", "ann"))


def _make_approval(rng: Random) -> str:
    if rng.random() < 0.3:
        return mutated(rng, (json.dumps(APPROVAL),), TOKENS)
    return json.dumps(mutated_document(rng, (APPROVAL,), ("undo 0", "session")))


def _act_approval(data: str, directory: Path) -> None:
    (directory / "plan.approved-ann-1.json").write_bytes(data.encode("utf-8", "surrogatepass"))
    for each in approvals_beside(directory / "plan.json"):
        printed(f"{each.by} {each.person}")


TARGETS = (
    Target("plans", _make, _act, 20, _command),
    Target("approvals", _make_approval, _act_approval, 20),
)
