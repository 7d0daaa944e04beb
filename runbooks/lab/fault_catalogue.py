"""Trouble on order, by name: what RDS does now and then, as the lab does it while the fault is switched on.

What RDS does in every restore the lab always does (docs/lab.md); this is the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runbooks.lab.iam_policy import IdentityPolicy
from runbooks.lab.lab_state import CallFault
from runbooks.lab.views import LabAccount

Switch = Callable[[LabAccount], None]
EVERY_CALL = 10**9
SLOW_S, LATE_S = 20.0, 300.0


@dataclass(frozen=True)
class OrderedFault:
    """One kind of trouble. `source`: where it is described; `on`, `off`: switch it."""

    summary: str
    source: str
    on: Switch
    off: Switch


def _attribute(name: str, value: object, otherwise: object) -> tuple[Switch, Switch]:
    """A field of the lab's Faults."""

    def switch(to: object) -> Switch:
        return lambda account: setattr(account.engine.faults, name, to)

    return switch(value), switch(otherwise)


def _flag(name: str) -> tuple[Switch, Switch]:
    return _attribute(name, value=True, otherwise=False)


def _calls(action: str, code: str) -> tuple[Switch, Switch]:
    """Every call of `action` is answered with an error."""

    def off(account: LabAccount) -> None:
        calls = account.engine.faults.calls
        calls[:] = [each for each in calls if (each.action, each.code) != (action, code)]

    return lambda account: account.engine.faults.calls.append(CallFault(action, code, times=EVERY_CALL)), off


def _next_restore(status: str) -> tuple[Switch, Switch]:
    def off(account: LabAccount) -> None:
        restores = account.engine.faults.next_restores
        restores[:] = [each for each in restores if each != status]

    return lambda account: account.engine.faults.next_restores.append(status), off


def _odd_rows() -> tuple[Switch, Switch]:
    rows = {"DBInstanceIdentifier": "graph", "Engine": "neptune"}, {"DBInstanceIdentifier": "half-made"}
    return lambda account: account.odd_rows.extend(rows), lambda account: account.odd_rows.clear()


def _private() -> tuple[Switch, Switch]:
    return lambda account: account.private.add(""), lambda account: account.private.clear()


_EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}
_NO_RESTORE = {"Effect": "Deny", "Action": "rds:RestoreDBInstance*", "Resource": "*"}

FAULTS: dict[str, OrderedFault] = {
    "slow-restore": OrderedFault(
        f"a restored instance stays 'creating' for {SLOW_S:.0f} s",
        "USER_PIT",
        *_attribute("creating_delay_s", SLOW_S, 0.0),
    ),
    "late-window": OrderedFault(
        f"the latest restorable time is {LATE_S / 60:.0f} minutes behind",
        "USER_PIT",
        *_attribute("restorable_lag_s", LATE_S, 0.0),
    ),
    "idle-after-restore": OrderedFault(
        "rdsadmin writes nothing in a restored instance, so its first checkpoint is still the newest",
        "the lab's old way",
        *_flag("idle_after_restore"),
    ),
    "protected": OrderedFault(
        "a rule of the account switches deletion protection on wherever it is off",
        "Security Hub, rds-instance-deletion-protection-enabled",
        *_flag("remediation"),
    ),
    "no-capacity": OrderedFault(
        "no instance of the class is to be had: the restore is refused",
        "botocore: InsufficientDBInstanceCapacityFault",
        *_calls("RestoreDBInstanceToPointInTime", "InsufficientDBInstanceCapacity"),
    ),
    "throttled": OrderedFault("every call is throttled", "botocore: Throttling", *_calls("*", "Throttling")),
    "restore-error": OrderedFault(
        "the next restore ends in 'restore-error'", "Viewing DB instance status", *_next_restore("restore-error")
    ),
    "incompatible-parameters": OrderedFault(
        "the next restore ends in 'incompatible-parameters'",
        "Viewing DB instance status",
        *_next_restore("incompatible-parameters"),
    ),
    "organization": OrderedFault(
        "a service control policy denies every restore",
        "SimulatePrincipalPolicy: OrganizationsDecisionDetail",
        *_attribute("organization", IdentityPolicy((_EVERYTHING, _NO_RESTORE)), None),
    ),
    "odd-rows": OrderedFault(
        "DescribeDBInstances lists an instance of Neptune and one that is half made",
        "botocore: DBInstance has no required member",
        *_odd_rows(),
    ),
    "private": OrderedFault(
        "endpoints have names that nothing here resolves: only a tunnel leads to them",
        "Working with a DB instance in a VPC",
        *_private(),
    ),
}


def switch(account: LabAccount, verb: str, name: str) -> None:
    """`fault-add` or `fault-remove`; what is so already stays so. Raises KeyError for a fault that there is not."""
    fault, ordered = FAULTS[name], account.engine.faults.ordered
    if verb == "fault-add" and name not in ordered:
        fault.on(account)
        ordered.add(name)
    if verb == "fault-remove" and name in ordered:
        fault.off(account)
        ordered.remove(name)
