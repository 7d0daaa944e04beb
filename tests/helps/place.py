"""A place in which errors are provoked, and the commands of their help lines carried out as they are printed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from recovery.errors import ErrorId
from recovery.model.target import format_utc
from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, Ran
from tests.fix_lab import Database, Live

COMMAND = re.compile(r"rowback ((?:'[^']*'|[^;,()'\n])+)")
Story = Callable[["Place"], None]
FOLLOWED: dict[ErrorId, Story] = {}


def follows(id: ErrorId) -> Callable[[Story], Story]:
    """A story that provokes one error and does what its help says."""

    def remember(story: Story) -> Story:
        FOLLOWED[id] = story
        return story

    return remember


@dataclass
class Place:
    """A database with ten rows at T in `t` and `u`, of which `t` has lost four since."""

    cli: Cli
    database: Database
    home: Path
    provoked: ErrorId

    def __post_init__(self) -> None:
        self.database.run(
            "create table t (id int primary key, x text)",
            "create table u (id int primary key, x text)",
            "insert into t select g, 'x' || g from generate_series(1, 10) g",
            "insert into u select * from t",
        )
        self.held = self.rows()
        self.target: datetime = pass_a_second()

    @property
    def live(self) -> Live:
        return self.database.live

    def rows(self) -> list[tuple[Any, ...]]:
        return self.database.rows("select * from t order by 1")

    def lose(self) -> None:
        """The incident."""
        self.database.run("delete from t where id > 6")

    def asking(self, verb: str = "plan", *extra: str) -> list[str]:
        """A command about this instance, database and T."""
        confirm = ["--confirm", self.database.name] if verb == "restore" else []
        at = format_utc(self.target)
        wait = [] if self.provoked is ErrorId.TARGET_AFTER_WINDOW else ["--wait-for-window", "60s"]
        return [verb, self.live.identifier, "--at", at, "--database", self.database.name, *wait, *extra, *confirm]

    def refused(self, *arguments: str, **environment: str) -> Ran:
        """A command that must end with the error that this story is about."""
        ran = self.cli(*arguments, **environment)
        assert f"error[{self.provoked}]: " in ran.err, f"exit {ran.code}:\n{ran.out}{ran.err}"
        assert "  help: " in ran.err
        return ran

    def works(self, *arguments: str, **environment: str) -> Ran:
        """A command that must succeed now."""
        ran = self.cli(*arguments, **environment)
        assert ran.code == 0, f"rowback {shlex.join(arguments)}: exit {ran.code}\n{ran.out}{ran.err}"
        return ran

    def follow(self, ran: Ran, which: int = 0, *, code: int = 0, **placeholders: str) -> Ran:
        """The command of the help with this number, exactly as printed but for its placeholders in capitals."""
        words = shlex.split(commands_of(ran)[which])
        words = [placeholders.get(word, word) for word in words]
        assert not [word for word in words if re.fullmatch("[A-Z]{2,}", word)], f"who knows what to put for {words}?"
        done = self.cli(*words)
        assert done.code == code, f"rowback {shlex.join(words)}: exit {done.code}, not {code}\n{done.out}{done.err}"
        return done


def help_of(ran: Ran) -> str:
    """All help lines of an error."""
    return "\n".join(line.partition("help: ")[2] for line in ran.err.splitlines() if line.startswith("  help: "))


def commands_of(ran: Ran) -> list[str]:
    """The commands in them, without `rowback`."""
    apart = re.sub(r" (or|and|then) rowback ", "; rowback ", help_of(ran))
    found = [re.sub(r"( or| and| then)?[ :]*$", "", text.strip()) for text in COMMAND.findall(apart)]
    assert found, help_of(ran)
    return found
