"""Which of the needed permissions these credentials lack, by IAM's own simulator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from recovery.aws.caller_identity import TIMEOUT_S
from recovery.aws.clients import client, translated
from recovery.aws.permissions import Statement
from recovery.errors import ErrorId, RowbackError
from recovery.model.approval import principal_of


@dataclass(frozen=True)
class Denial:
    """An action that is not allowed. `serves`: what suffers; empty where no recovery works without it.

    `by_organization`: a service control policy of the organization denies it, whatever the account's own policies say.
    """

    serves: str
    by_organization: bool


def principal_arn(caller: str, region: str) -> str:
    """The ARN whose policies count for a caller's: a role's with its path, which the caller's does not show.

    Raises iam-missing, with what to allow, where the role may not be looked at.
    """
    principal = principal_of(caller)
    if principal == caller:
        return caller
    name = principal.rpartition("/")[2]
    try:
        with translated(f"iam:GetRole on '{name}'"):
            arn: str = client("iam", region=region, timeout_s=TIMEOUT_S).get_role(RoleName=name)["Role"]["Arn"]
    except RowbackError as error:
        if error.id is not ErrorId.IAM_MISSING:
            raise
        raise RowbackError(
            error.id,
            f"the path of role '{name}' cannot be looked up, and without it nothing can be simulated",
            *error.facts,
            state=error.state,
            help="allow iam:GetRole: rowback doctor INSTANCE --iam-policy has it",
        ) from error
    return arn


def missing(needed: tuple[Statement, ...], principal: str, region: str) -> dict[str, Denial]:
    """Actions that the simulator denies `principal` (an ARN).

    It sees boundaries and service control policies; it does not see a key's or secret's own policy, nor that of a
    session. Raises iam-missing where the caller may not simulate, aws-refused for the root user, for which AWS does
    not simulate.
    """
    denied: dict[str, Denial] = {}
    iam = client("iam", region=region, timeout_s=TIMEOUT_S)
    for statement in needed:
        if statement.effect != "Allow":
            continue
        with translated("iam:SimulatePrincipalPolicy"):
            pages = iam.get_paginator("simulate_principal_policy").paginate(
                PolicySourceArn=principal,
                ActionNames=list(statement.actions),
                ResourceArns=list(statement.probes),
                ContextEntries=list(_context(statement)),
            )
            results = [result for page in pages for result in page["EvaluationResults"]]
        for action in statement.actions:
            answers = [result for result in results if result["EvalActionName"] == action]
            if not answers or not all(map(_allows, answers)):
                denied[action] = Denial(statement.serves, any(map(_by_organization, answers)))
    return denied


def _allows(result: dict[str, Any]) -> bool:
    """On every resource: AWS tells of several together, and of each of them below."""
    each = [one["EvalResourceDecision"] for one in result.get("ResourceSpecificResults", ())]
    return {result["EvalDecision"], *each} == {"allowed"}


def _by_organization(result: dict[str, Any]) -> bool:
    return (result.get("OrganizationsDecisionDetail") or {}).get("AllowedByOrganizations") is False


def _context(statement: Statement) -> Iterator[dict[str, object]]:
    for operator, conditions in statement.condition.items():
        for key, value in conditions.items():
            kind = "boolean" if operator == "Bool" else "string"
            values = [value] if isinstance(value, str) else [each.replace("*", "x") for each in value]
            if operator.startswith("ForAllValues"):
                kind = "stringList"
            yield {"ContextKeyName": key, "ContextKeyValues": values, "ContextKeyType": kind}
