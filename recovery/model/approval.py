"""That another person has read what will be written, and agrees."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from recovery.model.values import Moment, Value


class Distinct(StrEnum):
    """What distinguishes two people, the strictest first.

    Role session names can be chosen freely, so they count only where a site declares that they name people (as those of
    IAM Identity Center do).
    """

    PRINCIPAL = "principal"  # the IAM user or role
    SESSION = "session"  # the role's session as well
    ACCOUNT = "account"  # the account on the machine, for teams that share one instance profile


class Demand(Value):
    """How many others must approve what is written, and who counts as another."""

    needed: int = 0
    by: Distinct = Distinct.PRINCIPAL

    def or_stricter(self, other: Demand) -> Demand:
        """A demand that satisfies both: the larger number, and the stricter `by` of those that need any approval."""
        wanting = [each.by for each in (self, other) if each.needed]
        by = min(wanting, key=list(Distinct).index, default=self.by)
        return Demand(needed=max(self.needed, other.needed), by=by)


class Person(Value):
    """The operating system account on a machine, and the AWS identity of its credentials (empty: unknown)."""

    account: str
    aws: str

    def __str__(self) -> str:
        return f"{self.account}, {self.aws or 'AWS unknown'}"

    def is_another_than(self, other: Person, by: Distinct) -> bool:
        """Unknown is never another."""
        match by:
            case Distinct.ACCOUNT:
                return self.account != other.account
            case Distinct.SESSION:
                return bool(self.aws and other.aws) and self.aws != other.aws
        return bool(self.aws and other.aws) and principal_of(self.aws) != principal_of(other.aws)


class Approval(Value):
    """`digest`: of the plan, or `undo N`.

    `by` is what the approver calls themself; `person` is what the machine and AWS say.
    """

    digest: str
    by: str
    note: str = ""
    person: Person
    at: Moment


def approvers(approvals: Iterable[Approval], digests: Iterable[str], opener: Person, by: Distinct) -> list[Approval]:
    """Approvals of one of `digests`, one for each person who is not the opener."""
    accepted_digests = set(digests)
    counted: list[Approval] = []
    for approval in approvals:
        persons = [opener, *(each.person for each in counted)]
        if approval.digest in accepted_digests and all(
            approval.person.is_another_than(person, by) for person in persons
        ):
            counted.append(approval)
    return counted


def principal_of(caller: str) -> str:
    """Whose policies count for a caller's ARN: a session of a role has none of its own, its role has."""
    if ":assumed-role/" not in caller:
        return caller
    head, _, session = caller.partition(":assumed-role/")
    return f"{head.replace(':sts:', ':iam:')}:role/{session.split('/')[0]}"
