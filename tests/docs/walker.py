"""Somebody tired who does what is printed: the first command that was offered and not yet done, to the letter."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.fix_cli import Cli, Ran

NEXT = re.compile(r"^(?:next: | {4})(rowback .+)$", re.MULTILINE)
ADDED = re.compile(r"then add (--\S+ \S+)")
COMMAND = re.compile(r"rowback ((?:'[^']*'|[^;,()'\n])+)")
MOST = 14


@dataclass
class Walker:
    """`done`: each command with how it ended. `choice`: which of several offered incidents is followed."""

    cli: Cli
    choice: Callable[[list[str]], str] = lambda offered: offered[0]
    done: list[tuple[str, Ran]] = field(default_factory=list)

    def walk(self, *first: str, until: Callable[[], bool]) -> Ran:
        """From a first command on, until there is nothing more to do or the rows are right. Where one command leads no
        further, the one that was offered beside it is next ("close it, then …")."""
        ran, open_offers = self._do(shlex.join(first)), list[str]()
        while not (ran.code == 0 and until()):
            offered = self._offered(ran)
            if "which of " in ran.out:
                offered = [self.choice(offered)]
            open_offers = [*offered, *(each for each in open_offers if each not in offered)]
            open_offers = [command for command in open_offers if command not in dict(self.done)]
            if not open_offers:
                return ran
            assert len(self.done) < MOST, self.told()
            ran = self._do(open_offers.pop(0))
        return ran

    def told(self) -> str:
        """The whole way."""
        return "\n".join(f"$ rowback {text}\n[{ran.code}]\n{ran.out}{ran.err}" for text, ran in self.done)

    def _do(self, text: str) -> Ran:
        ran = self.cli(*shlex.split(text))
        self.done.append((text, ran))
        return ran

    def _offered(self, ran: Ran) -> list[str]:
        last = self.done[-1][0]
        helps = "\n".join(line.partition("help: ")[2] for line in ran.err.splitlines() if line.startswith("  help: "))
        if added := ADDED.search(helps):
            return [f"{last} {added[1]}"]
        found = [text.removeprefix("rowback ") for text in NEXT.findall(f"{ran.out}\n{ran.err}")]
        apart = re.sub(r" (or|and|then) rowback ", "; rowback ", helps)
        found += [re.sub(r"( or| and| then)?[ :]*$", "", text.strip()) for text in COMMAND.findall(apart)]
        return [re.sub(r" \([^)]*\)$", "", re.sub(r", or .*", "", text)).strip() for text in found]
