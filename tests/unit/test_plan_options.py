"""A plan as a command: what is printed asks, when it is typed, for exactly what was asked for."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from recovery.commands.plan import plan as plan_command
from recovery.commands.request_options import request_of
from recovery.model.catalog import Catalog
from recovery.model.plan_options import command_for, options_of
from recovery.model.recovery_plan import LEFT_OUT_BY_EXCEPT, LeftOut, PlannedTable, RecoveryPlan, Transport, Why
from recovery.model.repair_plan import RepairRequest
from recovery.model.values import TableName
from recovery.planning.check_request import Request
from tests.fix_plan import plan_for

CONFIGURATION = """
[profiles."the night's"]
region = "eu-west-1"
"""


@pytest.fixture(autouse=True)
def _configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "rowback.toml"
    file.write_text(CONFIGURATION)
    monkeypatch.setenv("ROWBACK_CONFIG", str(file))


def table(name: str, why: Why, because: str) -> PlannedTable:
    return PlannedTable(name=TableName(schema_name="public", name=name), why=why, because=because, bytes_now=0)


def typed(plan: RecoveryPlan, request: RepairRequest) -> Request:
    """What the command line makes of the printed command."""
    rowback, verb, *words = shlex.split(command_for("plan", plan, *options_of(plan, request)))
    assert (rowback, verb) == ("rowback", "plan")
    options = dict(plan_command.make_context("plan", words).params)
    for name in ("out", "every", "find_", "as_json"):
        del options[name]
    return request_of(options)  # type: ignore[arg-type]


ODD = "public.Weird Name; -- it's"


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "repair", "incident_xids": (7, 9), "incident_ranges": ((11, 20),), "on_conflict": "merge"},
        {"mode": "replace", "on_conflict": "take-t"},
        {"mode": "beside"},
        {},
    ],
)
def test_everything_that_was_asked_for_is_asked_again(changes: dict[str, object]) -> None:
    request = RepairRequest.model_validate(changes)
    plan = plan_for(
        Catalog(tables=(), foreign_keys=(), sequences=(), partitioned=()),
        request=RepairRequest(),
        where="body <> 'it''s' and \"t\" = 3",
        all_or_nothing=True,
        profile="the night's",
        tables=(
            table("Weird Name; -- it's", Why.NAMED, ODD),
            table("docs_2", Why.NAMED, "docs_*"),
            table("docs_1", Why.NAMED, "docs_*"),
            table("child", Why.FOLLOWED, "child references docs_1"),
        ),
        left_out=(
            LeftOut(name=TableName(schema_name="public", name="a b"), reason=LEFT_OUT_BY_EXCEPT),
            LeftOut(name=TableName(schema_name="public", name="secret"), reason="this role may not read it"),
        ),
    )
    asked = typed(plan, request)
    assert asked.repair == request
    assert (asked.instance, asked.database, asked.target_time) == ("live", "db", plan.target_time)
    assert tuple(asked.scope.tables) == (ODD, "docs_*")
    assert tuple(asked.scope.leave_out) == ("public.a b",)
    assert (asked.where, asked.all_or_nothing, asked.transport) == (plan.where, True, Transport.COPY)
    assert asked.profile_name == plan.profile


def test_what_nobody_asked_for_is_not_typed() -> None:
    plan = plan_for(
        Catalog(tables=(), foreign_keys=(), sequences=(), partitioned=()),
        transport=Transport.DUMP,
        tables=(table("t", Why.WHOLE_DATABASE, ""),),
    )
    command = command_for("restore", plan, *options_of(plan, plan.request))
    assert command == "rowback restore live --at 2026-11-22T00:00:00Z --database db"
