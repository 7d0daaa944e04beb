"""IAM as far as rowback asks it: what would be allowed. Everything, but for what a test denied.

Who exists is moto's affair, which answers every other call of IAM and STS.
"""

from __future__ import annotations

from typing import Any

from runbooks.lab.iam_policy import Authorization, IdentityPolicy
from runbooks.lab.principals import exists
from runbooks.lab.query_protocol import Refusal, Request, Result
from runbooks.lab.views import LabAccount

RESULTS_A_PAGE = 4


class IamOperations:
    """The policy simulator. Denied actions are refused when they are called as well, so that both tell the same."""

    def __init__(self, account: LabAccount) -> None:
        self.account, self.faults = account, account.engine.faults

    def SimulatePrincipalPolicy(self, request: Request) -> Result:
        """One result for each action and resource, a few a page: AWS may truncate its answer at any length.

        Raises Refusal for a principal that does not exist, such as a role's ARN without the role's path.
        """
        principal = request["PolicySourceArn"]
        if not exists(principal):
            raise Refusal("NoSuchEntity", f"The principal with arn {principal} cannot be found.", 404)
        policy = self.faults.policies.get(principal, self.faults.policy)
        context = {each["ContextKeyName"]: each["ContextKeyValues"] for each in request.get("ContextEntries") or ()}
        every = [
            self._result(policy, action, resource, context)
            for action in request["ActionNames"]
            for resource in request.get("ResourceArns") or ["*"]
        ]
        begin = int(request.get("Marker") or 0)
        end = begin + RESULTS_A_PAGE
        more = {"IsTruncated": True, "Marker": str(end)} if end < len(every) else {"IsTruncated": False}
        return {"EvaluationResults": every[begin:end], **more}

    def _result(
        self, policy: IdentityPolicy | None, action: str, resource: str, context: dict[str, list[str]]
    ) -> dict[str, Any]:
        decision, allowed_by_organization = Authorization.ALLOWED, True
        if self.faults.organization:
            allowed_by_organization = _allows(self.faults.organization, action, resource, context)
        if action in self.faults.denied or not allowed_by_organization:
            decision = Authorization.IMPLICIT_DENY
        elif policy:
            decision = policy.decide(action, resource, context)
        organization = {"AllowedByOrganizations": allowed_by_organization} if self.faults.organization else None
        result = {"EvalActionName": action, "EvalResourceName": resource, "EvalDecision": decision.value}
        return result | ({"OrganizationsDecisionDetail": organization} if organization else {})


def _allows(policy: IdentityPolicy, action: str, resource: str, context: dict[str, list[str]]) -> bool:
    return policy.decide(action, resource, context) is Authorization.ALLOWED
