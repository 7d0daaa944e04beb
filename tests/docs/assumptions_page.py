"""docs/aws-assumptions.md, out of the list that `rowback acceptance` tries and of the results that were sent in."""

from __future__ import annotations

from pathlib import Path

from runbooks.acceptance.assumptions import ASSUMPTIONS
from runbooks.acceptance.findings import AcceptanceResult

DOCS = Path(__file__).parents[2] / "docs"
ASSUMPTIONS_FILE, SENT_IN = DOCS / "aws-assumptions.md", DOCS / "acceptance"


def assumptions_page() -> str:
    """What is believed of AWS, with what the newest run on an account that was sent in made of each."""
    files = sorted(SENT_IN.glob("*.json"))
    results = sorted(
        (AcceptanceResult.model_validate_json(file.read_text()) for file in files), key=lambda each: each.at
    )
    last: dict[int, str] = {}
    for result in results:
        where = f"{result.region}, PostgreSQL {result.postgres}, {result.at:%Y-%m-%d}"
        last |= {finding.number: f"{finding.answer} ({where})" for finding in result.findings}
    lines = [
        "# What is assumed of AWS",
        "",
        "rowback was written from AWS's documents, its API's model and the code of others, on an emulator: nothing of"
        " it has met AWS yet.\nThis is what it leans on. `rowback acceptance` tries all of it on an account of yours,"
        " in about two hours and for less than a dollar:\nit makes a `db.t4g.micro` and copies of it, loses rows and"
        " puts them back, removes everything, and writes a file to send in.",
        "",
        "```sh",
        "rowback acceptance --profile staging --iam-policy > policy.json  # for a role of its own: 1 and 11",
        "rowback acceptance --profile staging --policy-profile recovery --confirm 123456789012",
        "```",
        "",
        "Run it inside the VPC, or with a profile that has a `tunnel`. `--max-cost` is what five instances for twelve"
        " hours may cost, `--confirm`\nthe number of the account. Its own credentials must be able to make and delete"
        " instances and parameter groups. After a kill `rowback reap`\non the same machine removes what it made."
        " `--instance NAME` uses a disposable instance of yours, tagged `rowback:disposable=true`: it is\nwritten to,"
        " never deleted, and left as it was; a kill leaves a database and roles named `rowback_acceptance_…` in it.",
        "",
        "The exit code is 0 where a copy was logged in to and nothing is refuted, else 40.",
        "",
        "| | assumption | source | what leans on it | on AWS | on the lab |",
        "|---|---|---|---|---|---|",
    ]
    for each in ASSUMPTIONS:
        lab = str(each.on_lab) + (f" ({each.on_lab_15} on PostgreSQL 15)" if each.on_lab_15 else "")
        cells = (str(each.number), each.claim, each.source, each.matters, last.get(each.number, "unknown"), lab)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])
