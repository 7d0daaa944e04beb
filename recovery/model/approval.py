"""That somebody else has read what will be written, and agrees."""

from __future__ import annotations

from collections.abc import Iterable

from recovery.model.values import Moment, Value


class Person(Value):
    """Who sits at a machine: the account there, and whom AWS takes its credentials for (empty: not known)."""

    account: str
    aws: str

    def __str__(self) -> str:
        return f"{self.account}, {self.aws or 'AWS unknown'}"

    def is_another_than(self, other: Person) -> bool:
        """By their AWS identities where both are known, else by their accounts."""
        if self.aws and other.aws:
            return self.aws != other.aws
        return self.account != other.account


class Approval(Value):
    """`by` is what the approver calls themself; `person` is what the machine and AWS say."""

    digest: str
    by: str
    note: str = ""
    person: Person
    at: Moment


def approvers(approvals: Iterable[Approval], digests: Iterable[str], opener: Person) -> list[Approval]:
    """Approvals of one of `digests`, one for each person who is not the opener."""
    wanted = set(digests)
    found: list[Approval] = []
    for approval in approvals:
        known = [opener, *(each.person for each in found)]
        if approval.digest in wanted and all(approval.person.is_another_than(person) for person in known):
            found.append(approval)
    return found
