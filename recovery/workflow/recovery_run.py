"""One recovery in the hands of one process: the case, its journal, and the adapters it works through."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from guards.plain_text import shell_word
from recovery.aws.instance_status import READY
from recovery.aws.restorable_source import RestorableSource
from recovery.config import Profile, load_profile
from recovery.errors import ErrorId, RowbackError
from recovery.model.account import Partial
from recovery.model.catalog import DatabaseIdentity
from recovery.model.instance import InstanceFacts
from recovery.model.recovery_plan import RecoveryPlan
from recovery.model.repair_plan import RepairPlan
from recovery.planning.original_login import by_token_on_copy, target_on_copy, target_on_original
from recovery.postgres.connect import Session, await_answer, await_login, connect, identity_of
from recovery.postgres.connection_target import Target
from recovery.redaction import remember
from recovery.store.case_directory import Case
from recovery.store.journal import Journal, Record

Outcome = Mapping[str, Any]
LOGIN_DEADLINE_S = 300.0
ANSWER_DEADLINE_S = 30.0  # RDS calls an instance available whose engine is dead
UNTOUCHED = "nothing was written to the original"


def refuse_other_database(plan: RecoveryPlan, source: InstanceFacts, identity: DatabaseIdentity) -> None:
    """Raises plan-facts-changed for an instance or a database that only carries the name of the planned one."""
    expected = plan.identity
    changed = []
    if source.resource_id != plan.source.resource_id:
        changed.append(f"'{source.identifier}' is another instance now: {source.resource_id}")
    if (identity.system_identifier, identity.database_oid) != (expected.system_identifier, expected.database_oid):
        changed.append(f"database '{plan.database}' there is another database now (system identifier or oid differ)")
    if changed:
        raise RowbackError(
            ErrorId.PLAN_FACTS_CHANGED,
            f"'{plan.database}' on '{source.identifier}' is not what was planned for",
            *changed,
            state=UNTOUCHED,
            help="find out who replaced it; a new plan is needed",
        )


def refuse_unapproved(plan: RepairPlan, database: str) -> None:
    """Refuse a repair plan without an approval; the case waits for one. Raises confirmation-missing."""
    write = f"rowback apply {plan.case} {plan.digest[:8]} --confirm {shell_word(database)}"
    raise RowbackError(
        ErrorId.CONFIRMATION_MISSING,
        f"repair plan {plan.digest[:8]} writes {plan.writes:,} rows and nobody approved it",
        state=UNTOUCHED,
        help=f"read it: rowback diff {plan.case}; then: {write}",
    )


class Listener(Protocol):
    """Shows the progress of a run: on a terminal, as plain lines, or not at all."""

    def step_started(self, name: str, title: str) -> None:
        """A step begins; `title` says what it does."""

    def progress(self, text: str, seconds: float) -> None:
        """The running step goes on, `seconds` after it began."""

    def notice(self, text: str) -> None:
        """Something that a person should know, outside any step."""

    def step_done(self, name: str, text: str, seconds: float) -> None:
        """A step ended well; `text` says with what result."""

    def step_failed(self, name: str, text: str) -> None:
        """A step ended with the error `text`."""


@dataclass
class RecoveryRun:
    """What every step gets. Nothing here survives the process; everything that must is in the journal."""

    case: Case
    journal: Journal
    instances: RestorableSource
    listener: Listener
    approver: Callable[[RepairPlan], None] | None = None
    partial: Partial = Partial.KEEP_OPEN
    _copy_password: str | None = field(default=None, repr=False)
    _settled: bool = False
    _by_token: bool = False

    def approve(self, plan: RepairPlan) -> None:
        """Have a repair plan approved. Raises confirmation-missing."""
        if self.approver is None:
            refuse_unapproved(plan, self.case.plan.database)
        else:
            self.approver(plan)

    @cached_property
    def profile(self) -> Profile:
        """The profile the case was opened with: resume needs no flags. Its tunnel is a program, and never a case's.

        Raises config-invalid where the case was opened through a tunnel that is not configured here.
        """
        case, profile = self.case, self.case.profile
        if not case.through_tunnel:
            return profile
        try:
            tunnel = load_profile(profile.name).tunnel
        except RowbackError as error:
            raise _no_tunnel(case, error.fact) from error
        if not tunnel:
            raise _no_tunnel(case, f"profile '{profile.name}' has no tunnel here")
        return profile.model_copy(update={"tunnel": tunnel})

    def record(self, event: str, *, step: str | None = None, data: Outcome | None = None) -> Record:
        """Write one record and fold it into the case."""
        record = self.journal.append(event, step=step, data=data)
        self.case.take(record)
        return record

    @contextmanager
    def original(self) -> Iterator[Session]:
        """A session on the affected database of the original, proven to be the planned one even after a long pause."""
        plan = self.case.plan
        source = self.instances.get(plan.source.identifier)
        target = target_on_original(source, plan.database, self.profile)
        remember(target.password or "")
        with connect(target, state=UNTOUCHED) as session:
            refuse_other_database(plan, source, identity_of(session))
            yield session

    def copy_facts(self) -> InstanceFacts:
        """The copy, available. Once it was seen to stay so, one look is enough."""
        if self._settled or self.case.outcome_of("await-copy") is not None:
            facts = self.instances.find(self.case.copy.identifier)
            if facts and facts.status in READY and facts.endpoint:
                return facts
        facts = self.instances.wait_ready(
            self.case.copy.identifier, deadline_s=self.deadline_s, watch=self.listener.progress
        )
        self._settled = True
        return facts

    def copy_target(self) -> Target:
        """The affected database on the copy; a resumed process sets a new master password first."""
        facts, database = self.copy_facts(), self.case.plan.database
        if self._by_token:
            return by_token_on_copy(facts, database, self.profile)
        if self._copy_password is None:
            unknown = target_on_copy(facts, database, "", self.profile)
            await_answer(unknown, deadline_s=ANSWER_DEADLINE_S, pause_s=self.instances.poll_s)
            password = self.instances.reset_password(
                facts.identifier, deadline_s=self.deadline_s, watch=self.listener.progress
            )
            remember(password)
            ways = [lambda: target_on_copy(facts, database, password, self.profile)]
            if self.case.plan.copy_settings.iam_authentication:  # whether RDS wants a token is what it wanted at T
                ways.append(lambda: by_token_on_copy(facts, database, self.profile))
            way = await_login(ways, deadline_s=LOGIN_DEADLINE_S, pause_s=self.instances.poll_s)
            self._copy_password, self._by_token = password, way == 1
            return ways[way]()
        return target_on_copy(facts, database, self._copy_password, self.profile)

    @contextmanager
    def copy(self) -> Iterator[Session]:
        """A read-only session on the copy."""
        with connect(self.copy_target(), state=UNTOUCHED) as session:
            session.execute("set default_transaction_read_only = on")
            session.execute("set lock_timeout = '60s'")  # a prepared transaction of T may hold a lock for good
            yield session

    @property
    def deadline_s(self) -> float:
        """How long a change of the copy may take."""
        return self.profile.copy_timeout_minutes * 60.0


def _no_tunnel(case: Case, reason: str) -> RowbackError:
    return RowbackError(
        ErrorId.CONFIG_INVALID,
        f"case {case.id} was opened through the tunnel of profile '{case.profile.name}', which is not to be had here",
        reason,
        state=UNTOUCHED,
        help="run it where that rowback.toml is, or name the file: ROWBACK_CONFIG=/path/to/rowback.toml",
    )
