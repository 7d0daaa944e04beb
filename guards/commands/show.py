"""`rowback guard show|check`: evidence and verdict. Both only read."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from guards.commands.guard_target import connected, dsn_option, judged, strictness_option
from guards.refusal import GuardError
from guards.refusal_text import mark_help

if TYPE_CHECKING:
    from guards.refusal_text import Judgement


@click.command(epilog="Example: rowback guard show --dsn 'host=localhost dbname=app'")
@dsn_option
@strictness_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def show(dsn: str, strictness: str, as_json: bool) -> None:
    """What the server is, what speaks for it and against it. Reads only."""
    with connected(dsn) as connection:
        judgement = judged(connection, dsn, strictness)
    if as_json:
        click.echo(
            json.dumps({**asdict(judgement.verdict), "evidence": asdict(judgement.evidence)}, indent=1, default=str)
        )
    else:
        click.echo(_text(judgement))


@click.command(epilog='Example: rowback guard check --dsn "$TEST_DSN" --strictness ci && pytest')
@dsn_option
@strictness_option
def check(dsn: str, strictness: str) -> None:
    """End with exit code 21 unless the database is proven disposable. Reads only."""
    with connected(dsn) as connection:
        judgement = judged(connection, dsn, strictness)
    if not judgement.verdict.disposable:
        raise GuardError(
            "not-disposable",
            f"{judgement.name} is not proven disposable",
            *judgement.verdict.vetoes,
            *judgement.verdict.missing,
            state="nothing was sent to it but one question",
            help=f"use a throw-away database. {mark_help(judgement)}",
        )
    click.echo(_text(judgement))


def _text(judgement: Judgement) -> str:
    from guards.allowance import target_of

    evidence, verdict = judgement.evidence, judgement.verdict
    lines = [
        f"{judgement.name}: {'disposable' if verdict.disposable else 'NOT proven disposable'}",
        "",
        f"  server   PostgreSQL {evidence.identity.server_version_num // 10000}, made"
        f" {evidence.born_at:%Y-%m-%dT%H:%M:%SZ}{', behind a pooler' * evidence.pooled}",
        f"  target   {target_of(evidence.identity)} (system identifier / database oid / start)",
        f"  size     {evidence.size_bytes / 2**20:,.1f} MiB",
    ]
    for word, reasons in (("for", verdict.proofs), ("against", verdict.vetoes), ("missing", verdict.missing)):
        lines += [f"  {word:<8} {line}" for line in reasons]
    lines += [
        f"  trace    the protection by {trace.by} ({trace.reason}) was taken off at {trace.at} by {trace.taken_off_by}:"
        f" {trace.because}"
        for trace in evidence.taken_off
    ]
    return "\n".join(lines)
