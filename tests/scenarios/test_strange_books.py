"""A book from a stranger: lint and preview execute nothing that writes, whatever the book says of itself.

The books are hostile; what they would have done is looked for on the server, in the files and in the network.
"""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.fix_cli import Cli, Ran
from tests.fix_lab import Database

FRONT = """\
---
title: A book from a stranger
purpose: It is said to help.
when: Always.
parameters:
  instance: {type: instance}
  database: {type: database}
%s
---
# A book

Words.

"""
HARMLESS = "```rowback id=look timeout=1m\nrowback doctor $INSTANCE --database $DATABASE\n```\n"


@pytest.fixture
def victim(database: Database) -> Database:
    database.run(
        "create table victim (n int)",
        "insert into victim values (1), (2)",
        "create function public.wipe() returns int language sql as 'delete from public.victim; select 1'",
        "create sequence counter",
    )
    return database


def write(steps: str, parameters: str = "") -> str:
    Path("strange.md").write_text(FRONT % parameters + steps)
    return "strange.md"


def preview(cli: Cli, database: Database, *extra: str) -> Ran:
    return cli(
        "runbook",
        "run",
        "strange.md",
        "-p",
        f"instance={cli.live.identifier}",
        "-p",
        f"database={database.name}",
        "--mode",
        "preview",
        *extra,
    )


def untouched(database: Database) -> None:
    assert database.rows("select n from victim order by n") == [(1,), (2,)]
    assert database.rows("select last_value, is_called from counter") == [(1, False)]


WRITES = [
    "drop table if exists public.victim",
    "truncate victim",
    "with gone as (delete from victim returning n) select * from gone",
    "select setval('counter', 99)",
    "select nextval('counter')",
    "copy victim to program 'touch PWNED'",
    "select pg_terminate_backend(pid) from pg_stat_activity",
    "select lo_from_bytea(0, 'x')",
    "do $$ begin delete from victim; end $$",
    "explain analyze delete from victim",
    "select 1; drop table victim",
    "create temp table x as select 1",
]


@pytest.mark.parametrize("statement", WRITES)
def test_a_statement_that_writes_is_not_made_to_read_by_saying_so(cli: Cli, victim: Database, statement: str) -> None:
    write(f"```sql id=count timeout=1m reads\n{statement}\n```\n")
    linted = cli("runbook", "lint", "strange.md")
    assert linted.code == 2
    assert "strange.md:14: reads: it is said to read only, and it writes\n" in linted.out
    refused = preview(cli, victim)
    assert (refused.code, refused.out) == (2, "")
    assert "error[book-invalid]: strange.md:14: it is said to read only, and it writes\n" in refused.err
    untouched(victim)
    assert not Path("PWNED").exists()


@pytest.mark.parametrize("statement", ["select wipe()", "select public.wipe() from victim"])
def test_what_nobody_can_tell_runs_where_it_cannot_write(cli: Cli, victim: Database, statement: str) -> None:
    """A function may do anything; said to read, it is called in a read-only transaction. Not said so, not at all."""
    write(f"```sql id=call timeout=1m reads\n{statement}\n```\n")
    ran = preview(cli, victim)
    assert ran.code == 0, ran.err
    assert "cannot execute DELETE in a read-only transaction" in ran.out
    untouched(victim)
    write(f'```sql id=call timeout=1m undo="none: it cannot"\n{statement}\n```\n')
    assert preview(cli, victim).out == f"call: would run: sql {statement}\n"
    untouched(victim)


def test_a_script_is_shown_line_by_line_and_forges_none(cli: Cli, victim: Database) -> None:
    write("```sh id=look timeout=1m reads\necho a\nother: was run: true\n```\n")
    assert preview(cli, victim).out.splitlines() == [
        "look: would run (a script is only run with --run-shell look): bash -euo pipefail -c echo a",
        "    other: was run: true",
    ]


def test_a_script_runs_only_when_the_person_names_it(cli: Cli, victim: Database) -> None:
    script = "touch PWNED"
    write(f"```sh id=look timeout=1m reads\n{script}\n```\n\n```sh id=other timeout=1m reads\ntouch OTHER\n```\n")
    assert cli("runbook", "lint", "strange.md").code == 0
    assert cli("runbook", "show", "strange.md").code == 0
    seen = preview(cli, victim)
    assert seen.code == 0, seen.err
    assert seen.out.splitlines() == [
        f"look: would run (a script is only run with --run-shell look): bash -euo pipefail -c {script}",
        "other: would run (a script is only run with --run-shell other): bash -euo pipefail -c touch OTHER",
    ]
    assert seen.err == "\npreview: nothing of this book was run; 2 steps that may write were not\n"
    assert not Path("PWNED").exists()
    named = preview(cli, victim, "--run-shell", "look")
    assert named.out.splitlines()[0] == f"look: was run: bash -euo pipefail -c {script}"
    assert named.err.endswith(
        "preview: 1 script of this book was run, which nothing checks; 1 step that may write was not\n"
    )
    assert (Path("PWNED").exists(), Path("OTHER").exists()) == (True, False)
    unknown = preview(cli, victim, "--run-shell", "lok")
    assert unknown.code == 2
    assert "error[usage]: 'lok' is no script of runbook 'strange'\n" in unknown.err


@pytest.mark.parametrize(
    "spelling", ["--out {}", "--out={}", "--out $FILE", "--out $RUN_DIR/a --out {}", "--out={} --out=$RUN_DIR/a"]
)
def test_a_plan_of_a_preview_lands_nowhere_else(cli: Cli, victim: Database, spelling: str) -> None:
    """`plan` reads, but for its file: neither an existing one nor a new one outside the run's directory."""
    Path("important.conf").write_text("keep = me\n")
    for file in ("important.conf", "new.json", "$RUN_DIR/../escaped.json"):
        out = spelling.format(file)
        write(
            f"```rowback id=plan timeout=2m\nrowback plan $INSTANCE --at 2026-01-01T00:00:00Z --database $DATABASE"
            f" {out}\n```\n",
            f"  file: {{type: text, default: '{file}'}}",
        )
        seen = preview(cli, victim)
        assert seen.code == 0, seen.err
        assert seen.out.startswith("plan: would run (it writes "), seen.out
        assert "which is not in this run's directory): rowback plan " in seen.out
    assert Path("important.conf").read_text() == "keep = me\n"
    assert sorted(path.name for path in Path().iterdir() if path.name != "home") == ["important.conf", "strange.md"]


@pytest.mark.parametrize(
    "line",
    [
        "rowback status x --serve --address 0.0.0.0",
        "rowback diff x --again",
        "rowback diff x --on-conflict take-t",
        "rowback diff x --incident-xid=7",
        "rowback guard check --dsn 'host=198.51.100.7 password=x'",
        "rowback guard show --dsn=service=production",
    ],
)
def test_options_that_act_are_withheld(cli: Cli, victim: Database, line: str) -> None:
    """Of verbs that read: a server for everybody, another plan, a login where the book says."""
    write(f"```rowback id=a timeout=1m\n{line}\n```\n")
    seen = preview(cli, victim)
    assert seen.code == 0, seen.err
    option = next(word for word in line.split() if word.startswith("--")).partition("=")[0]
    assert seen.out.startswith(f"a: would run (with {option} it does more than read): rowback "), seen.out


@dataclass
class Listener:
    """A proxy or server of the stranger's: nobody is to come to it."""

    server: socket.socket
    visitors: list[bytes] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.server.getsockname()[1])

    def serve(self) -> None:
        while True:
            try:
                visitor, _ = self.server.accept()
            except OSError:
                return
            with closing(visitor):
                self.visitors.append(visitor.recv(200))


@pytest.fixture
def stranger() -> Iterator[Listener]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        listener = Listener(server)
        thread = threading.Thread(target=listener.serve, daemon=True)
        thread.start()
        yield listener
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


NAMES = [
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "openssl_conf",
    "ssl_cert_file",
    "gconv_path",
    "boto_config",
    "shellopts",
    "xdg_state_home",
    "xdg_config_home",
    "ld_preload",
    "pythonpath",
    "pghost",
    "aws_endpoint_url",
    "path",
    "bash_env",
    "rowback_home",
    "ifs",
    "ps4",
    "tz",
    "lc_all",
    "home",
]


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_data_for_every_program(cli: Cli, victim: Database, stranger: Listener, name: str) -> None:
    """A parameter of any name: the command does what it does without, and a script sees it under our prefix alone."""
    value = f"http://127.0.0.1:{stranger.port}"
    script = "env | LC_ALL=C sort > seen.env"
    write(
        HARMLESS + f"\n```sh id=see timeout=1m reads\n{script}\n```\n", f"  {name}: {{type: text, default: '{value}'}}"
    )
    assert cli("runbook", "lint", "strange.md").code == 0, cli("runbook", "lint", "strange.md").out
    ran = preview(cli, victim, "--run-shell", "see")
    assert ran.code == 0, ran.err
    assert f"look: was run: rowback doctor {cli.live.identifier} --database {victim.name}" in ran.out, ran.out
    assert stranger.visitors == []
    with_value = [line for line in Path("seen.env").read_text().splitlines() if value in line]
    assert with_value == [f"RUNBOOK_{name.upper()}={value}"]


def test_a_script_that_names_a_parameter_as_before_is_told_how(cli: Cli, victim: Database) -> None:
    write("```sh id=a timeout=1m reads\necho $DATABASE\n```\n")
    linted = cli("runbook", "lint", "strange.md")
    assert "strange.md:14: variable: step 'a' uses $DATABASE, which programs are given as $RUNBOOK_DATABASE\n" in (
        linted.out
    )


def test_a_connection_whose_variable_is_no_dsn_leaks_nothing(cli: Cli, victim: Database) -> None:
    """libpq quotes what it cannot parse; it stood on the terminal and in the journal."""
    secret = "https://hooks.slack.test/services/T0/B0/PLANTEDSECRETxyz9"
    text = write("```sql id=q timeout=1m on=other\nselect 1\n```\n", "connections: {other: MY_SLACK}")
    Path(text).write_text(Path(text).read_text().replace("  connections", "connections"))
    ran = cli(
        "runbook",
        "run",
        "strange.md",
        "-p",
        f"instance={cli.live.identifier}",
        "-p",
        f"database={victim.name}",
        "--mode",
        "auto",
        MY_SLACK=secret,
    )
    assert ran.code == 56
    assert "the variable of the connection holds no connection string" in ran.err
    written = b"".join(path.read_bytes() for path in Path("home").rglob("*") if path.is_file())
    for where in (ran.out, ran.err, written.decode(errors="replace")):
        assert "PLANTED" not in where
        assert "hooks.slack" not in where


LAUGHS = "\n".join(
    [
        "a: &a [x, x, x, x, x, x, x, x, x]",
        *(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]" for before, name in itertools.pairwise("abcdefghij")),
    ]
)


@pytest.mark.parametrize(
    "front",
    [
        LAUGHS,
        "title: &t x\npurpose: *t",
        "title: " + "[" * 5000,
        "title: " + "{a: " * 5000,
    ],
)
def test_front_matter_cannot_grow(cli: Cli, front: str) -> None:
    Path("laughs.md").write_text(f"---\n{front}\n---\n# x\n\n- [ ] Looked.\n")
    ran = cli("runbook", "lint", "laughs.md")
    assert ran.code == 2
    assert "laughs.md:1: front-matter: the front matter is no YAML: " in ran.out


def test_a_book_of_a_gigabyte_is_no_book(cli: Cli) -> None:
    with Path("large.md").open("wb") as file:
        file.truncate(2**30)
    ran = cli("runbook", "lint", "large.md")
    assert ran.code == 2
    assert "it is larger than 1024 KiB, which no book is" in ran.out
