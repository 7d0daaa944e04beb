"""What all checks share: the instance, the profile, and the words a check is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial

from recovery.aws.describe_protection import Protections
from recovery.aws.permissions import Place
from recovery.aws.restorable_source import RestorableSource
from recovery.config import Profile
from recovery.errors import RowbackError
from recovery.model.health_report import Area, Check, State
from recovery.model.instance import InstanceFacts
from recovery.model.protection import Protection

SHOWN = 5


@dataclass
class DoctorContext:
    """One instance and database under examination. `now`: the same moment for every check."""

    instances: RestorableSource
    facts: InstanceFacts
    profile: Profile
    database: str
    now: datetime

    @cached_property
    def protections(self) -> Protections:
        """The RDS API as far as it tells how things are protected."""
        return Protections.connect(self.instances.region)

    @cached_property
    def protection(self) -> Protection:
        """How RDS protects the instance."""
        return self.protections.of(self.facts)

    @property
    def place(self) -> Place:
        """What the ARNs of its policy are made of."""
        return Place.of(
            self.facts,
            kms_key=self.protections.customer_key(self.facts.kms_key),
            backup=self.protections.backup_arn(self.facts),
            secret_key=self.protections.customer_key(self.facts.master_secret_key),
        )


Say = Callable[..., Check]


@dataclass(frozen=True)
class Words:
    """`ok(name, reason)`, `warning(name, reason, fix)`, `problem(name, reason, fix)` of one area."""

    area: Area

    def _in(self, state: State) -> Say:
        return partial(_check, area=self.area, state=state)

    @property
    def ok(self) -> Say:
        """It is as it should be."""
        return self._in(State.OK)

    @property
    def warning(self) -> Say:
        """A recovery would be harder."""
        return self._in(State.WARNING)

    @property
    def problem(self) -> Say:
        """A recovery would fail, or lose data."""
        return self._in(State.PROBLEM)

    def not_seen(self, name: str, error: RowbackError) -> Check:
        """What could not be looked at is unknown, never well."""
        reason = "; ".join([error.fact, *error.facts[:1]])
        return Check(name=name, area=self.area, state=State.UNKNOWN, reason=reason, fix=error.help)


def _check(name: str, reason: str, fix: str = "", *, area: Area, state: State) -> Check:
    return Check(name=name, area=area, state=state, reason=reason, fix=fix)


def listed(names: Iterable[object]) -> str:
    """The first few, and how many more."""
    every = [str(name) for name in names]
    rest = len(every) - SHOWN
    return ", ".join(every[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
