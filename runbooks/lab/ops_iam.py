"""IAM as far as rowback asks it: what would be allowed. Everything, but the actions that a test denied."""

from __future__ import annotations

from runbooks.lab.query_protocol import Request, Result
from runbooks.lab.views import LabAccount

RESULTS_A_PAGE = 4


class IamOperations:
    """The policy simulator. Denied actions are refused when they are called as well, so that both tell the same."""

    def __init__(self, account: LabAccount) -> None:
        self.faults = account.engine.faults

    def SimulatePrincipalPolicy(self, request: Request) -> Result:
        """One result for each action and resource, a few a page: AWS may truncate its answer at any length."""
        resources = request.get("ResourceArns") or ["*"]
        every = [
            {
                "EvalActionName": action,
                "EvalResourceName": resource,
                "EvalDecision": "implicitDeny" if action in self.faults.denied else "allowed",
            }
            for action in request["ActionNames"]
            for resource in resources
        ]
        begin = int(request.get("Marker") or 0)
        end = begin + RESULTS_A_PAGE
        more = {"IsTruncated": True, "Marker": str(end)} if end < len(every) else {"IsTruncated": False}
        return {"EvaluationResults": every[begin:end], **more}
