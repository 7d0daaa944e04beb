"""Markdown in, a book or its problems out."""

from __future__ import annotations

from pathlib import Path

import pytest

from recovery.errors import ErrorId, RowbackError
from runbooks.book.book_template import TEMPLATE
from runbooks.book.document import Note
from runbooks.book.lint import lint
from runbooks.book.parse_book import parse, read_book
from runbooks.steps.book_step import Type
from runbooks.steps.person_steps import Approve, Ask, Confirm
from runbooks.steps.rowback_command import Command
from runbooks.steps.shell_script import Shell
from runbooks.steps.sql_statement import Sql

FRONT = "---\ntitle: T\npurpose: P\nwhen: W\nparameters:\n  instance: {type: instance}\n---\n"


def book(body: str, front: str = FRONT) -> str:
    return f"{front}# T\n\nWords.\n\n{body}\n"


def test_what_a_book_is_made_of() -> None:
    found, problems = parse(
        "b",
        book("""
```rowback id=a timeout=5m save=target=proposal.target_time save=all
rowback find $INSTANCE \\
  --json
```

```sql id=b timeout=10s rows=1+ on=live
select * from t where id = :'id'
```

```sql id=c timeout=10s undo="none: gone is gone"
delete from t
```

```sh id=d timeout=1h reads exit=0,3 expect="all .* well"
echo all is well
```

```ask id=e type=time default=2026-01-01T00:00:00Z
When was it?
```

```approve id=f
Go on?
```

- [ ] Somebody has *looked* at it, and it is so.
- [x] Twice.

```yaml
just: an example
```
"""),
    )
    assert problems == []
    (section,) = found.sections
    a, b, c, d, e, f, g, h = found.steps
    assert isinstance(a, Command)
    assert (a.lines, a.effects.reads, a.effects.timeout_s) == (("rowback find $INSTANCE    --json",), True, 300.0)
    assert a.effects.saves == (("target", "proposal.target_time"), ("all", ""))
    assert isinstance(b, Sql)
    assert (b.on, b.rows, b.effects.reads) == ("original", "1+", True)
    assert isinstance(c, Sql)
    assert (c.effects.reads, c.effects.no_undo) == (False, "gone is gone")
    assert isinstance(d, Shell)
    assert (d.effects.reads, d.effects.exits, d.effects.expects) == (True, (0, 3), "all .* well")
    assert isinstance(e, Ask)
    assert (e.parameter.type, e.parameter.variable, e.question) == (Type.TIME, "E", "When was it?")
    assert isinstance(f, Approve)
    assert isinstance(g, Confirm)
    assert isinstance(h, Confirm)
    assert (g.id, g.question) == ("somebody-has-looked-at-it", "Somebody has *looked* at it, and it is so.")
    notes = [part.text for part in section.parts if isinstance(part, Note)]
    assert notes == ["Words.", "```yaml\njust: an example\n```"]


@pytest.mark.parametrize(
    ("body", "line", "rule", "text"),
    [
        ("```rowback id=a\nrowback cases\n```", 12, "timeout", "it has no timeout=90s, 10m or 2h"),
        ("```rowback timeout=1m\nrowback cases\n```", 12, "id", "this rowback step has no id=name in lower case"),
        (
            "```rowback id=a timeout=1m colour=red\nrowback cases\n```",
            12,
            "attribute",
            "a rowback step knows no 'colour'",
        ),
        (
            "```rowback id=a timeout=1m\nls\n```",
            12,
            "command",
            "'ls' is no rowback command; other programs belong into sh",
        ),
        (
            "```rowback id=a timeout=1m\nrowback cases --colour\n```",
            12,
            "command",
            "'rowback cases --colour': No such option '--colour'.",
        ),
        (
            "```rowback id=a timeout=1m\nrowback report 7f3a --format pdf\n```",
            12,
            "command",
            "'rowback report 7f3a --format pdf': 'pdf' is not one of 'text', 'html', 'md', 'json'.",
        ),
        (
            "```rowback id=a timeout=1m\nrowback drills --format $FORM\n```",
            12,
            "variable",
            "step 'a' uses $FORM, which has no parameter, question or save",
        ),
        (
            "```rowback id=a timeout=1m\nrowback plan i --max-cost much\n```",
            12,
            "command",
            "'rowback plan i --max-cost much': 'much' is not a valid float range.",
        ),
        ("```rowback id=a timeout=1m\nrowback heal\n```", 12, "command", "rowback knows no 'heal'"),
        (
            "```sql id=a timeout=1m\ndelete from t\n```",
            12,
            "undo",
            "step 'a' writes: say undo=COMMAND, or undo=\"none: why\"",
        ),
        (
            "```sh id=a timeout=1m reads\necho $TARGET\n```",
            12,
            "variable",
            "step 'a' uses $TARGET, which has no parameter, question or save",
        ),
        (
            "```sh id=a timeout=1m reads\necho $B\n```\n\n```ask id=b\nB?\n```",
            12,
            "variable",
            "step 'a' uses $B, which is saved only later, by step 'b'",
        ),
        (
            "```rowbak id=a timeout=1m\nrowback cases\n```",
            12,
            "unknown-step",
            "'rowbak' is no kind of step; known: rowback, sql, sh, ask, approve",
        ),
        (
            '```rowback id=a timeout=1m undo="none: x"\nrowback undo 7f3a --confirm d\n```',
            12,
            "gate",
            "step 'a' writes to the original before anybody was asked",
        ),
        (
            '```rowback id=a timeout=1m undo="none: x"\nrowback open $INSTANCE\n```',
            12,
            "teardown",
            "step 'a' opens a case that no later step closes",
        ),
        (
            "```sh id=a timeout=1m reads\npsql postgresql://ann:hunter22@db/x\n```",
            13,
            "secret",
            "a secret stands in it; take it from the environment or a profile",
        ),
        (
            "```sh id=a timeout=1m reads\ntrue\n```\n\n```sh id=a timeout=1m reads\ntrue\n```",
            16,
            "id",
            "2 steps are called 'a'",
        ),
        (
            '```rowback id=a timeout=1m undo="none: x"\nrowback close 7f3a\nrowback close 7f3b\n```',
            12,
            "one-write",
            "step 'a' writes with 2 commands: a step each",
        ),
        ("## S\n\n- [ ] Looked.", 14, "prose", "section 'S' has steps and not a word about them"),
        ("Nothing.", 1, "empty", "there is no step in it"),
        (
            '```sh id=a timeout=1m undo="rm -f x"\ntrue\n```',
            12,
            "undo",
            'undo=rm -f x is no rowback command; say undo="none: how to do it by hand"',
        ),
        (
            '```sh id=a timeout=1m reads expect="("\ntrue\n```',
            12,
            "expect",
            "expect=( is no regular expression: missing ), unterminated subpattern at position 0",
        ),
        ("```sh id=a timeout=1m reads exit=abc\ntrue\n```", 12, "exit", "exit=abc is no list of numbers such as 0,43"),
        (
            "- one\n\n  ```sh id=a timeout=1m reads\n  true\n  ```",
            14,
            "nested-step",
            "a step inside a list or quotation is never run; put it at the margin",
        ),
        (
            "```sql id=a timeout=1m on=nowhere\nselect 1\n```",
            12,
            "connection",
            "step 'a' is on=nowhere, which no connection declares",
        ),
        ("```ask id=a type=choice\nWhich?\n```", 12, "ask", "a choice needs choices=a,b"),
        (
            "```rowback id=a timeout=1m\nrowback status $HOME\n```",
            12,
            "variable",
            "step 'a' uses $HOME, which has no parameter, question or save",
        ),
    ],
)
def test_each_rule_fires(tmp_path: Path, body: str, line: int, rule: str, text: str) -> None:
    path = tmp_path / "b.md"
    path.write_text(book(body))
    found = [(each.line, each.rule, each.text) for each in lint(path)]
    assert (line, rule, text) in found
    assert {each[1] for each in found} - {rule, "objective", "gate", "undo", "empty"} == set(), (
        "and nothing else is said of it"
    )


UNASKED = "nobody is asked for this: a manual step is `- [ ] words` at the margin"


@pytest.mark.parametrize(
    ("body", "fact"),
    [
        (
            "```Rowback id=a timeout=1m\nrowback cases\n```",
            "12: 'Rowback' is no kind of step; known: rowback, sql, sh, ask, approve",
        ),
        (
            "~~~ shell id=a timeout=1m\ntrue\n~~~\n\n- [ ] Looked.",
            "12: 'shell' is no kind of step; known: rowback, sql, sh, ask, approve",
        ),
        (
            "- one\n\n  ```shell id=a\n  true\n  ```\n\n- [ ] Looked.",
            "14: a step inside a list or quotation is never run; put it at the margin",
        ),
        ("1. [ ] Check.\n\n- [ ] Looked.", f"12: {UNASKED}"),
        ("> - [ ] check\n\n- [ ] Looked.", f"12: {UNASKED}"),
        ("- [ ]Check\n- [ ] Looked.", f"12: {UNASKED}"),
        (
            "    ```sh id=b timeout=1m reads\n    true\n    ```\n\n- [ ] Looked.",
            "12: a step inside a list or quotation is never run; put it at the margin",
        ),
        (
            "> ```approve\n> Really?\n> ```\n\n- [ ] Looked.",
            "12: a step inside a list or quotation is never run; put it at the margin",
        ),
        (
            "<details>\n```sh id=b timeout=1m reads\ntrue\n```\n</details>\n\n- [ ] Looked.",
            "13: a step inside a list or quotation is never run; put it at the margin",
        ),
        ("```rowback id=c timeout=1m\n```", "12: there is no command in it"),
        (
            '```rowback id=c timeout=1m\nrowback cases "x\n```',
            "12: 'rowback cases \"x' cannot be split into words: a quote is not closed",
        ),
        (
            "```ask id=dbpassword\nWhich?\n```",
            "1: dbpassword is named like a secret, and runs keep values: use the environment",
        ),
        ("Words.", "1: there is no step in it"),
        ("```ask id=run-dir\nWhere?\n```", "1: run_dir is each run's own directory, and nothing else"),
        (
            "```sh id=a timeout=1m reads\ntrue\n```\n\n```sh id=a timeout=1m reads\nfalse\n```",
            "16: 2 steps are called 'a'",
        ),
    ],
)
def test_what_a_run_would_pass_over_in_silence_is_refused(tmp_path: Path, body: str, fact: str) -> None:
    path = tmp_path / "b.md"
    path.write_text(book(body))
    with pytest.raises(RowbackError) as refused:
        read_book(path)
    assert (refused.value.id, refused.value.fact) == (ErrorId.BOOK_INVALID, f"{path}:{fact}")


def test_a_preview_does_only_what_reads() -> None:
    """--dry-run makes reading of the verbs that have it, and only as a word of its own."""
    body = "```rowback id=a timeout=1m\nrowback {}\n```"
    for line, reads in (
        ("reap --dry-run", True),
        ("restore i --dry-run", True),
        ('guard mark --reason "not --dry-run"', False),
        ("apply c d --dry-run", False),
        ("restore i --where \"a = '--dry-run'\"", False),
    ):
        (step,) = parse("b", book(body.format(line)))[0].steps
        assert isinstance(step, Command)
        assert step.effects.reads is reads, line


def test_an_example_is_no_step() -> None:
    text = "````md\n```sh id=b\ntrue\n```\n- [ ] so\n````\n\n- [ ] Looked.\n- [x](link)"
    assert [problem.text for problem in parse("b", book(text))[1]] == []


def test_a_recovery_without_objectives(tmp_path: Path) -> None:
    path = tmp_path / "b.md"
    path.write_text(book('- [ ] Looked.\n\n```rowback id=a timeout=1m undo="none: x"\nrowback undo 7f3a\n```'))
    assert [each.rule for each in lint(path)] == ["objective"]


@pytest.mark.parametrize(
    ("front", "text"),
    [
        ("", "a runbook begins with front matter between two lines of ---"),
        ("---\ntitle: [\n---\n", "the front matter is no YAML: "),
        ("---\n- a\n---\n", "the front matter is no mapping"),
        ("---\ntitle: T\npurpose: P\n---\n", "the front matter has no when"),
        (FRONT.replace("---\n", "---\napprovals_by: people\n", 1), "approvals_by: people is none of principal,"),
        (FRONT.replace("title", "titel"), "unknown key 'titel' in the front matter"),
        (FRONT.replace("instance: {", "Instance: {"), "parameter 'Instance' needs a lower-case name"),
        (FRONT.replace("---\n", "---\nobjectives: {speed: fast}\n", 1), "objective 'speed: fast' is not recovery_time"),
    ],
)
def test_front_matter(front: str, text: str) -> None:
    problems = parse("b", book("- [ ] Looked.", front))[1]
    assert any(problem.text.startswith(text) for problem in problems), problems
    assert all(problem.line == 1 for problem in problems)


@pytest.mark.parametrize(
    "script",
    ["for I in 1 2; do echo $I; done", "read LINE < f; echo $LINE", "echo $SECONDS $HOME", 'X="a"; echo $X'],
)
def test_what_bash_itself_gives_is_known(tmp_path: Path, script: str) -> None:
    path = tmp_path / "b.md"
    path.write_text(book(f"```sh id=a timeout=1m reads\n{script}\n```"))
    assert lint(path) == []


def test_a_task_in_any_language_has_an_id() -> None:
    (step,) = parse("b", book("- [ ] 데이터를 확인했습니다"))[0].steps
    assert step.id == "task-12"


def test_the_template_has_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "b.md"
    path.write_text(TEMPLATE)
    assert lint(path) == []
