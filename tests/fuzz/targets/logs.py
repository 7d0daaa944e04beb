"""PostgreSQL's logs: stderr with every log_line_prefix, csvlog, jsonlog, compressed or not."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from recovery.config import Profile
from recovery.incident.log_line_prefix import COMMON
from recovery.incident.rank_suspects import Question
from recovery.investigation.find_incident import Search, find
from recovery.report.find_text import find_text
from tests.fuzz.mutations import mutated, mutated_bytes
from tests.fuzz.structures import mutated_document
from tests.fuzz.target import Invocation, Target, argument, printed

SINCE, UNTIL = datetime(1970, 1, 2, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
STATEMENTS = (
    "LOG:  statement: truncate content.articles cascade",
    "LOG:  statement: begin",
    "LOG:  execute <unnamed>: delete from content.articles where id > $1",
    "DETAIL:  parameters: $1 = '3', $2 = NULL",
    "LOG:  statement: commit",
    'ERROR:  relation "x" does not exist',
    "STATEMENT:  drop table x;\n\tdrop schema y cascade",
    "LOG:  duration: 0.123 ms  statement: update t set a = 'x'",
    'LOG:  AUDIT: SESSION,1,1,WRITE,DELETE,TABLE,content.articles,"delete from content.articles",<not logged>',
    "LOG:  disconnection: session time: 0:00:01.5 user=app database=docs host=[local]",
    "LOG:  statement: rollback",
    "LOG:  execute S_1: insert into t values ($1)[Your log message was truncated]",
    "LOG:  statement: do $$ begin end $$",
    "FATAL:  terminating connection due to administrator command",
    "LOG:  statement: prepare transaction 'x'",
)
CSV = (
    '2026-11-22 14:20:00.123 UTC,"app","docs",17,"10.0.0.1:5432",6a1.11,3,"DELETE",2026-11-22 14:00:00 UTC,3/7,834,LOG,'
    '00000,"statement: delete from content.articles",,,,,,,,,"psql","client backend",,0\n'
)
JSON = {
    "timestamp": "2026-11-22 14:20:00.123 UTC",
    "user": "app",
    "dbname": "docs",
    "pid": 17,
    "remote_host": "10.0.0.1",
    "session_id": "6a1.11",
    "line_num": 3,
    "vxid": "3/7",
    "txid": 834,
    "error_severity": "LOG",
    "message": "statement: truncate content.articles",
    "application_name": "psql",
    "backend_type": "client backend",
    "detail": "parameters: $1 = '1'",
    "statement": "select 1",
    "query_id": 0,
}
TOKENS = (
    *STATEMENTS,
    "\n",
    "\n\t",
    "LOG:  ",
    "2026-11-22 14:20:00 UTC",
    "2026-02-30 25:61:61.123 XYZ",
    " CST",
    " +0530",
    "2026-11-22 14:20:00.123 ",
    "[17]",
    "statement: ",
    "execute ",
    "parameters: ",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "$1",
    "/*",
    "*/",
    "--",
    "$$",
    "AUDIT: ",
    '"',
    '""',
    ",",
    "\\u0000",
    "\\ud800",
    "9" * 20,
    "\x00",
    "\xff",
)
ESCAPES = tuple(f"%{letter}" for letter in "tmnpudrhaclvxeibsPQL%q5-")


@dataclass(frozen=True)
class Log:
    """A log file, and the options it is read with."""

    name: str
    content: bytes
    prefix: str | None = None
    zone: str | None = None
    table: str | None = None

    def __repr__(self) -> str:
        return f"{self.name} {self.content!r} prefix={self.prefix!r} zone={self.zone!r} table={self.table!r}"


def _lines(prefix: str) -> bytes:
    """A log whose lines begin as `prefix` says."""
    values = {
        "t": "2026-11-22 14:20:00 UTC",
        "m": "2026-11-22 14:20:00.123 UTC",
        "r": "10.0.0.1(5432)",
        "u": "app",
        "d": "docs",
        "p": "17",
        "a": "psql",
        "h": "10.0.0.1",
        "c": "6a1.11",
        "l": "3",
        "v": "3/7",
        "x": "834",
        "q": "",
    }
    for letter, value in values.items():
        prefix = prefix.replace(f"%{letter}", value)
    return "".join(f"{prefix}{statement}\n" for statement in STATEMENTS).encode()


STDERR = tuple(_lines(prefix) for prefix in COMMON)


def _table(rng: Random) -> str | None:
    return rng.choice((None, None, "content.articles", "articles", "x"))


def _stderr(rng: Random) -> Log:
    at = rng.randrange(len(COMMON))
    content = mutated_bytes(rng, (STDERR[at],), TOKENS)
    zone = rng.choice((None, None, "Asia/Kolkata", "+05:30"))
    return Log("log", content, rng.choice((None, COMMON[at])), zone, _table(rng))


def _prefix(rng: Random) -> Log:
    prefix = argument(mutated(rng, COMMON, ESCAPES))
    content = rng.choice(STDERR) if rng.random() < 0.5 else _lines(prefix.encode(errors="ignore").decode())
    return Log("log", content, prefix or None)


def _csv(rng: Random) -> Log:
    rows = [CSV.replace("delete from content.articles", rng.choice(STATEMENTS).replace('"', '""')) for _ in range(3)]
    return Log("log.csv", mutated_bytes(rng, ("".join(rows).encode(),), TOKENS), table=_table(rng))


def _json(rng: Random) -> Log:
    rows = [mutated_document(rng, (JSON,), STATEMENTS) for _ in range(2)]
    message = {**JSON, "message": rng.choice(STATEMENTS).partition(":  ")[2]}
    text = "\n".join(json.dumps(each, ensure_ascii=rng.random() < 0.9) for each in (*rows, message))
    content = text.encode("utf-8", "surrogatepass")
    return Log("log.json", mutated_bytes(rng, (content,), TOKENS) if rng.random() < 0.4 else content, table=_table(rng))


def _compressed(rng: Random) -> Log:
    content = gzip.compress(STDERR[0], 1, mtime=0)
    return Log(rng.choice(("log.gz", "log.csv.gz", "log.json.gz")), mutated_bytes(rng, (content,)))


def _act(data: Log, directory: Path) -> None:
    path = directory / data.name
    path.write_bytes(data.content)
    search = Search(
        instance=None,
        since=SINCE,
        until=UNTIL,
        question=Question(table=data.table),
        profile=Profile(),
        files=(path,),
        prefix=data.prefix,
        zone=data.zone,
    )
    finding = find(search, lambda text: None)
    printed(find_text(finding))
    printed(finding.model_dump_json(indent=1))


def _command(data: Log, directory: Path) -> Invocation:
    (directory / data.name).write_bytes(data.content)
    settings = (("--log-line-prefix", data.prefix), ("--log-timezone", data.zone), ("--table", data.table))
    options = tuple(f"{name}={value}" for name, value in settings if value)
    return Invocation(("find", "--log", data.name, *options, *(["--json"] if data.table else [])))


TARGETS = (
    Target("log-stderr", _stderr, _act, 5, _command),
    Target("log-prefix", _prefix, _act, 4, _command),
    Target("log-csv", _csv, _act, 10, _command),
    Target("log-json", _json, _act, 10, _command),
    Target("log-gzip", _compressed, _act, 5, _command),
)
