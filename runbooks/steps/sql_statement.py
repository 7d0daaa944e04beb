"""`sql`: one statement on a named connection, judged before it is committed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from guards.statements import classify
from runbooks.steps.book_step import Executed, Fence
from runbooks.steps.saved_values import saved_of
from runbooks.steps.step_effects import effects_of
from runbooks.steps.surroundings import StepError, Surroundings

ORIGINAL, ORIGINAL_EARLIER = "original", "live"  # the second is what books of 0.1 say
_PLACE = re.compile(r""":(['"])(\w+)\1""")


@dataclass(frozen=True)
class Sql(Executed):
    """One statement on a named connection: `original`, or a name whose DSN an environment variable holds.

    `rows`: how many it must give or change, such as 3 or 1+.
    """

    kind: ClassVar[str] = "sql"
    noun: ClassVar[str] = "statement"
    attributes: ClassVar[frozenset[str]] = frozenset({"id", "timeout", "undo", "on", "rows", "expect", "save"})
    text: str
    on: str
    rows: str = ""

    @classmethod
    def of_fence(cls, fence: Fence) -> Sql:
        """What the classifier says of the statement decides whether it reads."""
        if not fence.body.strip():
            fence.wrong("command", "there is no statement in it")
        effects = effects_of(fence, classify(_PLACE.sub("'x'", fence.body)).danger)
        rows = fence.attributes.get("rows", "")
        if rows and not re.fullmatch(r"\d+\+?", rows):
            fence.wrong("rows", f"rows={rows} is no number such as 0, 3 or 1+")
        on = fence.attributes.get("on", ORIGINAL)
        return cls(fence.id, fence.line, effects, fence.body, ORIGINAL if on == ORIGINAL_EARLIER else on, rows)

    @property
    def texts(self) -> Sequence[str]:
        """The statement."""
        return (self.text,)

    @property
    def needs(self) -> set[str]:
        """Every :'name' and :"name"."""
        return {name.upper() for _, name in _PLACE.findall(self.text)}

    @property
    def writes_to_original(self) -> bool:
        """Unless the classifier knows it to read."""
        return self.on == ORIGINAL and not self.effects.reads

    def command_lines(self, values: Mapping[str, str]) -> list[list[str]]:
        """The statement as it would be sent. Raises StepError."""
        return [["sql", _shown(self.text, values)]]

    def execute(self, around: Surroundings, number: int) -> dict[str, str]:
        """Ask, and judge the answer before it is committed: a statement that did not do what it should, did nothing.

        Raises StepError.
        """
        from recovery.postgres.bounded_statement import StatementScope, ask

        around.logs.mkdir(exist_ok=True)
        out = around.output(self.id, number)

        def judge(rows: list[tuple[Any, ...]], count: int) -> dict[str, str]:
            text = "".join("\t".join("" if value is None else str(value) for value in row) + "\n" for row in rows)
            out.touch(mode=0o600)
            out.write_text(around.redact(text))
            if self.rows:
                least, exact = int(self.rows.rstrip("+")), not self.rows.endswith("+")
                if count < least or (exact and count != least):
                    raise StepError(f"it gives {count} rows, not {self.rows}")
            return saved_of(self.effects, text, text, around)

        scope = StatementScope.STATEMENT
        if self.rows or self.effects.expects or self.effects.saves:
            scope = StatementScope.ONE_TRANSACTION
        if self.effects.reads:
            scope = StatementScope.READ_ONLY
        statement = _shown(self.text, around.values)
        return ask(_dsn(self, around), statement, judge, timeout_s=self.effects.timeout_s, scope=scope)


def _shown(text: str, values: Mapping[str, str]) -> str:
    """The statement with `:'name'` as a literal and `:"name"` as an identifier."""
    from recovery.postgres.bounded_statement import identifier, literal

    def put(match: re.Match[str]) -> str:
        value = values.get(match[2].upper())
        if value is None:
            raise StepError(f"the statement needs a value that is not known: {match[2]}")
        return literal(value) if match[1] == "'" else identifier(value)

    return _PLACE.sub(put, text)


def _dsn(step: Sql, around: Surroundings) -> Any:
    from recovery.aws.instances import Instances
    from recovery.planning.original_login import target_on_original

    if step.on != ORIGINAL:
        variable = around.connections.get(step.on, "")
        if not os.environ.get(variable):
            raise StepError(f"connection '{step.on}' is the variable {variable or '(not declared)'}, which is not set")
        return os.environ[variable]
    for name in ("INSTANCE", "DATABASE"):
        if name not in around.values:
            raise StepError(f"a statement on the original needs the parameter {name.lower()}")
    facts = Instances.connect(around.profile.region).get(around.values["INSTANCE"])
    return target_on_original(facts, around.values["DATABASE"], around.profile)
