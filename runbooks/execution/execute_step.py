"""Do one step: a rowback command, a statement, a script. Output goes to files, without secrets."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import IO, Any

from recovery.config import PROFILE_VARIABLE, Profile
from recovery.redaction import Redactor
from recovery.store.case_directory import RUN_VARIABLE
from runbooks.book.document import SHELL_PREFIX, Command, Executed, Shell, Sql

TAIL_LINES = 12
GRACE_S, DRAIN_S = 30.0, 2.0
_PLACE = re.compile(r""":(['"])(\w+)\1""")


class StepError(Exception):
    """A step did not end as it promised. The text says how."""


class CutOff(StepError):
    """A step was ended before it ended itself: what it had done by then is not known."""


@dataclass(frozen=True)
class Surroundings:
    """What a step is run in.

    `values`: of variables; `logs`: where its output goes; `redact`: what is masked; `connections`: by name. Its
    commands get the run's `mark` and profile. `begun` is called with each child's process id. `overruled`: values given
    with -p that replace those that a step would save.
    """

    values: Mapping[str, str]
    logs: Path
    redact: Redactor
    profile: Profile
    connections: Mapping[str, str]
    mark: str = ""
    profile_name: str | None = None
    begun: Callable[[int], None] = lambda pid: None
    overruled: Mapping[str, str] = field(default_factory=dict)

    def output(self, step: Executed, number: int) -> Path:
        """Where the stdout of a step is kept."""
        return self.logs / f"{number:02d}-{step.id}.out"


def command_lines(step: Executed, values: Mapping[str, str]) -> list[list[str]]:
    """What would be run, as argument lists.

    Values are put into words that were split before, so that none of them can become more than a word. Raises StepError
    for a variable without a value.
    """
    match step:
        case Command(lines=lines):
            return [_words(line, values) for line in lines]
        case Shell(text=text):
            return [["bash", "-euo", "pipefail", "-c", text]]
        case Sql(text=text):
            return [["sql", _shown(text, values)]]


def _words(line: str, values: Mapping[str, str]) -> list[str]:
    """The words of a command. A variable of several lines behind an option (`--table $TABLES`) says it once a line."""
    words: list[str] = []
    for word in shlex.split(line):
        several = values.get(word[1:], "").splitlines() if word.startswith("$") else []
        if len(several) > 1 and words and words[-1].startswith("--"):
            option = words.pop()
            words += [each for value in several for each in (option, _filled(word, {word[1:]: value}))]
        else:
            words.append(_filled(word, values))
    return words


def execute(step: Executed, around: Surroundings, number: int) -> dict[str, str]:
    """Do it, and return the values that it saves. Raises StepError, KeyboardInterrupt after its child has ended."""
    out = around.output(step, number)
    err = out.with_suffix(".err")
    around.logs.mkdir(exist_ok=True)
    match step:
        case Sql():
            return _ask(step, around, out)
        case Command() | Shell():
            texts = _run_all(step, around, out, err)
            return _judged(step, "".join(texts), texts[-1], around)


def _judged(step: Executed, whole: str, last: str, around: Surroundings) -> dict[str, str]:
    """What is expected may stand anywhere in the output; what is saved is the last command's."""
    expected = step.effects.expects
    if expected and not re.search(expected, whole, re.MULTILINE):
        raise StepError(f"its output does not show what was expected: {expected}")
    return _masked_values(_saved(step, last, around.overruled), around)


def _masked_values(saved: list[tuple[str, str]], around: Surroundings) -> dict[str, str]:
    """What a run can keep: its journal holds no secret, and a masked value is another value."""
    for name, value in saved:
        if around.redact(value) != value:
            raise StepError(f"what it would save as {name} holds a secret, and runs keep no secrets")
        if "\0" in value:
            raise StepError(f"what it would save as {name} holds a NUL, which no variable can")
    return dict(saved)


def _filled(word: str, values: Mapping[str, str]) -> str:
    try:
        filled = Template(word).substitute(values)
        if filled.startswith("-") and not word.startswith("-"):
            raise StepError(f"the value of {word} begins with '-' and would be taken for an option: {filled}")
        return filled
    except (KeyError, ValueError) as error:
        raise StepError(f"'{word}' needs a value that is not known: {error}") from error


def _run_all(step: Command | Shell, around: Surroundings, out: Path, err: Path) -> list[str]:
    """The output of each line, as it was; what is kept of it is masked."""
    texts = []
    for path in (out, err):
        path.touch(mode=0o600)
    with out.open("w") as output, err.open("w") as errors:
        for arguments in command_lines(step, around.values):
            code, text = _run(arguments, step, around, errors)
            texts.append(text)
            output.write(around.redact(text))
            output.flush()
            if code not in step.effects.exits:
                expected = " or ".join(map(str, step.effects.exits))
                last = "\n".join(err.read_text().strip().splitlines()[-TAIL_LINES:])
                raise StepError(f"it ended with exit code {code}, not {expected}" + (f"\n{last}" if last else ""))
    return texts


def _run(arguments: list[str], step: Command | Shell, around: Surroundings, errors: IO[str]) -> tuple[int, str]:
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        child = subprocess.Popen(
            _program(arguments, step),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env=_environment(step, around),
            start_new_session=True,
        )
        around.begun(child.pid)
        reader = threading.Thread(target=_pass_on, args=(child.stderr, errors, around.redact), daemon=True)
        reader.start()
        try:
            code = child.wait(step.effects.timeout_s)
        except subprocess.TimeoutExpired:
            _end(child)
            raise CutOff(f"it was not done within {step.effects.timeout_s:.0f} s and was ended") from None
        except KeyboardInterrupt:
            _end(child)
            raise
        reader.join(DRAIN_S)  # what it left in the background may hold its output for ever
        errors.flush()
        output.seek(0)
        return code, output.read()


def _program(arguments: list[str], step: Command | Shell) -> list[str]:
    return [sys.executable, "-P", "-m", "recovery.cli", *arguments[1:]] if isinstance(step, Command) else arguments


def _environment(step: Command | Shell, around: Surroundings) -> dict[str, str]:
    """The person's own, and what is ours. Values of a book reach scripts under our prefix, and commands as words."""
    values = {f"{SHELL_PREFIX}{name}": value for name, value in around.values.items()}
    ours = {RUN_VARIABLE: around.mark, **({PROFILE_VARIABLE: around.profile_name} if around.profile_name else {})}
    return {**os.environ, **(values if isinstance(step, Shell) else {}), **ours}


def _pass_on(source: IO[str], output: IO[str], redact: Redactor) -> None:
    """Copy the step's stderr into its file and to the terminal."""
    with suppress(ValueError):  # the file is closed: nobody waits for what comes this late
        for line in source:
            shown = redact(line)
            output.write(shown)
            output.flush()
            sys.stderr.write(f"  │ {shown}")
            sys.stderr.flush()


def _end(child: subprocess.Popen[str]) -> None:
    """As Ctrl-C does: a rowback command then writes its journal. It runs in a session of its own, with its children."""
    try:
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(child.pid, signal.SIGINT)
            child.wait(GRACE_S)
    finally:  # also when Ctrl-C comes again
        _kill(child)


def _kill(child: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):  # what it left in the background does not hear of Ctrl-C, and holds its output
        os.killpg(child.pid, signal.SIGKILL)


def _ask(step: Sql, around: Surroundings, out: Path) -> dict[str, str]:
    """Ask, and judge the answer before it is committed: a statement that did not do what it should, did nothing."""
    from recovery.postgres.bounded_statement import StatementScope, ask

    def judge(rows: list[tuple[Any, ...]], count: int) -> dict[str, str]:
        text = "".join("\t".join("" if value is None else str(value) for value in row) + "\n" for row in rows)
        out.touch(mode=0o600)
        out.write_text(around.redact(text))
        if step.rows:
            least, exact = int(step.rows.rstrip("+")), not step.rows.endswith("+")
            if count < least or (exact and count != least):
                raise StepError(f"it gives {count} rows, not {step.rows}")
        return _judged(step, text, text, around)

    judged = bool(step.rows or step.effects.expects or step.effects.saves)
    scope = (
        StatementScope.READ_ONLY
        if step.effects.reads
        else StatementScope.ONE_TRANSACTION
        if judged
        else StatementScope.STATEMENT
    )
    return ask(
        _dsn(step, around), _shown(step.text, around.values), judge, timeout_s=step.effects.timeout_s, scope=scope
    )


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

    if step.on != "live":
        variable = around.connections.get(step.on, "")
        if not os.environ.get(variable):
            raise StepError(f"connection '{step.on}' is the variable {variable or '(not declared)'}, which is not set")
        return os.environ[variable]
    for name in ("INSTANCE", "DATABASE"):
        if name not in around.values:
            raise StepError(f"a statement on live needs the parameter {name.lower()}")
    facts = Instances.connect(around.profile.region).get(around.values["INSTANCE"])
    return target_on_original(facts, around.values["DATABASE"], around.profile)


def _saved(step: Executed, text: str, overruled: Mapping[str, str]) -> list[tuple[str, str]]:
    saved_values: list[tuple[str, str]] = []
    for name, path in step.effects.saves:
        if name.upper() in overruled:
            continue
        if path == "proposal.target_time":
            _refuse_choice(text)
        saved = _of_choice(text, overruled) if path == "proposal.tables" else None
        saved_values.append((name.upper(), saved or (_at(text, path) if path else text.strip())))
        if not saved_values[-1][1]:
            raise StepError(f"there is no value to save as {name}")
    return saved_values


def _refuse_choice(text: str) -> None:
    """Where several incidents are possible, none is taken for the one that is meant."""
    if choices := _choices(text):
        times = "; ".join(f"{each['target_time']} before {each['what']}" for each in choices)
        raise StepError(f"{len(choices)} incidents are possible, and one has to be said with -p at=TIME: {times}")


def _of_choice(text: str, overruled: Mapping[str, str]) -> str | None:
    """The tables of those incidents whose target time was said, of several that are possible."""
    chosen = [each for each in _choices(text) if each["target_time"] in overruled.values()]
    return "\n".join(dict.fromkeys(table for each in chosen for table in each["tables"])) or None


def _choices(text: str) -> list[dict[str, Any]]:
    try:
        return list((json.loads(text).get("proposal") or {}).get("choices", ()))
    except (ValueError, AttributeError, RecursionError):
        return []


def _at(text: str, path: str) -> str:
    """The value at `a.b.0` of a JSON document."""
    try:
        value = json.loads(text)
        for part in path.split("."):
            value = value[int(part)] if isinstance(value, list) else value[part]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise StepError(f"its output has no {path}") from error
    if isinstance(value, list):
        return "\n".join(map(str, value))
    return "" if value is None else str(value)
