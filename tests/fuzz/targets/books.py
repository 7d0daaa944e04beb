"""Runbooks: Markdown with YAML at its head, and what lint has to say."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from random import Random

from recovery import __version__
from runbooks.book.book_template import TEMPLATE
from runbooks.book.lint import lint, sarif
from runbooks.book.parse_book import books_directory, parse
from tests.fuzz.mutations import mutated_bytes
from tests.fuzz.target import Invocation, Target, printed

SMALL = """---
title: T
purpose: P
when: W
parameters:
  instance: {type: instance}
  n: {type: number, default: 3, choices: [1, 2], help: h, example: 1}
objectives: {recovery_time: 30m, data_loss: 90s}
connections: {other: OTHER_DSN}
approvals_by: account
---
# T

Words.

```rowback id=a timeout=5m save=target=proposal.target_time exit=0,43
rowback find $INSTANCE --json
```

```sql id=b timeout=10s rows=1+ on=other
select * from t where id = :'n'
```

```sh id=c timeout=1h reads expect="all .* well"
echo $N
```

```ask id=d type=choice choices=a,b default=a
When?
```

```approve id=e
Go on?
```

- [ ] Somebody has *looked*.

> ```rowback id=f
> rowback cases
> ```
"""
TOKENS = (
    "---\n",
    "```",
    "~~~",
    "```rowback ",
    "```sql ",
    "```sh ",
    "```ask ",
    "```approve ",
    "id=",
    "timeout=",
    "save=",
    "exit=",
    "expect=",
    'expect="("',
    "expect=(?P<",
    "rows=",
    "on=",
    "undo=",
    'undo="none: x"',
    "reads",
    "writes",
    "type=",
    "type=choice",
    "choices=",
    "default=",
    "- [ ] ",
    "- [x] ",
    "\n",
    "  ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "<<: *a",
    "!!python/object:os.system",
    "!!binary",
    "!!timestamp 2026-99-99",
    "!!set",
    "!!int x",
    "0x",
    "0b2",
    "1:60",
    "2026-02-30",
    "? ",
    "| ",
    "> ",
    ".inf",
    ".nan",
    "~",
    "null",
    "$INSTANCE",
    "${N}",
    ":'n'",
    "rowback restore ",
    "rowback ",
    "--limit=x",
    "guard ",
    "runbook ",
    "'",
    '"',
    "\\",
    "# ",
    "<b>",
    "[a](b)",
    "\t",
    "\r\n",
    "\x00",
    "\xff",
    "²",
)
ALIASES = "".join(f"x{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" if n else "x0: &a0 [x, x]\n" for n in range(10))
PARAMETER = "parameters:\n  n: {type: text, default: *a9}\n"


@cache
def _seeds() -> tuple[bytes, ...]:
    shipped = [path.read_bytes() for path in sorted(books_directory().glob("*.md"))]
    return (*[SMALL.encode()] * 6, *[TEMPLATE.encode()] * 3, *shipped)


def _make(rng: Random) -> bytes:
    """The small ones more often; one in 400 with aliases of aliases in its head."""
    seed = rng.choice(_seeds())
    if rng.randrange(400) == 0:
        seed = seed.replace(b"parameters:", f"{ALIASES}{PARAMETER}old:".encode())
    return mutated_bytes(rng, (seed,), TOKENS)


def _act(data: bytes, directory: Path) -> None:
    path = directory / "book.md"
    path.write_bytes(data)
    problems = lint(path)
    printed("\n".join(f"{path}:{problem.line}: {problem.rule}: {problem.text}" for problem in problems))
    if len(data) % 7 == 0:
        printed(sarif({path: problems}, __version__))
        book, _ = parse("book", data.decode("utf-8", "replace"))
        printed(f"{book.digest} {book.overrules} {book.questions} {list(book.produced())}")


def _command(data: bytes, directory: Path) -> Invocation:
    (directory / "book.md").write_bytes(data)
    verbs = (("runbook", "lint", "book.md"), ("runbook", "lint", "book.md", "--sarif"), ("runbook", "show", "book.md"))
    return Invocation(verbs[len(data) % 3])


TARGETS = (Target("books", _make, _act, 3, _command),)
