"""Links between databases of one instance, declared in rowback.toml: can they be asked about?"""

from __future__ import annotations

from recovery.config import ColumnReference, Profile
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.values import TableName
from recovery.postgres.connect import connect
from recovery.postgres.connection_target import Target
from recovery.postgres.value_lookup import existing


def refuse_unusable_references(target: Target, profile: Profile) -> None:
    """Refuse (config-invalid) declared references that could not be checked after the repair."""
    for reference in profile.references:
        if target.database in (reference.child.database, reference.parent.database):
            for column in (reference.child, reference.parent):
                existing_values(target.to(column.database), column, [], state=NOTHING_CREATED)


def existing_values(
    target: Target, column: ColumnReference, values: list[str], *, state: str = "the rows were put back and committed"
) -> set[str]:
    """Those of `values` that exist in the column. Raises config-invalid when the declared column cannot be asked."""
    try:
        with connect(target, state=state) as session:
            return existing(session, table_of(column), column.column, values)
    except LookupError as error:
        raise RowbackError(
            ErrorId.CONFIG_INVALID,
            f"reference {column} in rowback.toml cannot be checked: {error}",
            state=state,
            help="correct the [[reference]] in rowback.toml",
        ) from error


def table_of(column: ColumnReference) -> TableName:
    """The table that a declared reference names."""
    return TableName(schema_name=column.schema_name, name=column.table)
