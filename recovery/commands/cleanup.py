"""`rowback cleanup`: before-images and tables beside that cases left in a database."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from guards.plain_text import joined, shell_word
from recovery.commands.confirmation import confirm
from recovery.commands.options import json_option, profile_option, region_option
from recovery.commands.parameter_types import seconds
from recovery.commands.shell_completion import complete_instance
from recovery.config import load_profile

if TYPE_CHECKING:
    from recovery.postgres.before_images import LeftSchema


@click.command(epilog="Example: rowback cleanup docs-staging --database docs --older-than 30d --confirm docs")
@click.argument("instance", shell_complete=complete_instance)
@click.option("--database", required=True, metavar="D", help="The database to look into.")
@click.option("--older-than", metavar="30d", help="Remove what closed cases left that are older.")
@click.option("--case", "cases", multiple=True, metavar="ID", help="Remove what this case left. Repeatable.")
@click.option("--confirm", "confirmed", metavar="D", help="The live database's name, for automation.")
@profile_option
@region_option
@json_option
def cleanup(  # noqa: PLR0913, PLR0917 (one argument an option)
    instance: str,
    database: str,
    older_than: str | None,
    cases: tuple[str, ...],
    confirmed: str | None,
    profile: str | None,
    region: str | None,
    as_json: bool,
) -> None:
    """List what cases left in a database, by age and size; remove it where --older-than or --case says so.

    Never what an open case needs. Once before-images are gone, undo rests on the case's directory alone.
    """
    from recovery.aws.instances import Instances
    from recovery.planning.original_login import target_on_original
    from recovery.postgres.connect import connect
    from recovery.workflow.database_leftovers import clean, leftovers

    loaded = load_profile(profile)
    facts = Instances.connect(region or loaded.region).get(instance)
    age = timedelta(seconds=seconds(older_than)) if older_than else None
    with connect(target_on_original(facts, database, loaded)) as original:
        all_left = leftovers(original)
        ages = {left.schema.name: left.age.days for left in all_left}
        if age is None and not cases:
            schemas = [(left.schema, left.needed or left.kept or "may be removed") for left in all_left]
        else:
            confirm(database, confirmed)
            schemas = list(clean(original, named=cases, older_than=age))
    _show(schemas, ages, as_json=as_json)
    if age is None and not cases and schemas:
        click.echo(f"next: rowback cleanup {instance} --database {shell_word(database)} --older-than 30d", err=True)


def _show(schemas: Iterable[tuple[LeftSchema, str]], ages_days: dict[str, int], *, as_json: bool) -> None:
    from recovery.report.report_text import columns

    rows = [
        {
            "schema": schema.name,
            "case": schema.case,
            "tables": schema.tables,
            "bytes": schema.bytes,
            "age_days": ages_days[schema.name],
            "result": what,
        }
        for schema, what in schemas
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    shown = [
        ("schema", "tables", "MiB", "days old", ""),
        *(
            (
                str(row["schema"]),
                f"{row['tables']}",
                f"{int(str(row['bytes'])) / 2**20:,.1f}",
                f"{row['age_days']}",
                str(row["result"]),
            )
            for row in rows
        ),
    ]
    click.echo(joined(columns(shown)) if rows else "nothing is left of any case")
