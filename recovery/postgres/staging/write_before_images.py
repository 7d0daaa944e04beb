"""Before-images: a table in the database for each table that a case writes to, of the rows as they were before.

Kept in the transaction that writes, with a digest that goes into the journal, so that an undo can tell them from images
that were altered and may rest on them alone where the change set's file is gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import LiteralString

from psycopg import sql

from recovery.model.repair_plan import ImagesDigest
from recovery.model.values import TableName
from recovery.postgres.comparison.table_scan import Field, Values, stream
from recovery.postgres.connect import Session
from recovery.postgres.fingerprint import row_hash
from recovery.postgres.staging.stage import Stage
from recovery.postgres.staging.stage_query import LEAVES

OWN_COLUMNS = 2  # the row's number and what was done to it stand before the table's own columns

# Names and the types below any domains.
_COLUMNS: LiteralString = """
select a.attname, format_type(b.oid, null)
from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
cross join lateral (
  with recursive below as (
    select t.oid, t.typtype, t.typbasetype, 0 as depth from pg_type t where t.oid = a.atttypid
    union all
    select t.oid, t.typtype, t.typbasetype, depth + 1
    from below join pg_type t on t.oid = below.typbasetype where below.typtype = 'd')
  select oid from below order by depth desc limit 1) b
where n.nspname = %s and c.relname = %s and a.attnum > 0 and not a.attisdropped order by a.attnum
"""


def before_image_schema(case: str) -> str:
    """The schema that keeps a case's before-images."""
    return "rowback_case_" + case.replace("-", "_")


def create_before_images(stage: Stage, relation: TableName, *, unlogged: bool) -> None:
    """Create the empty table `relation` for the before-images of the live rows that are about to change.

    `unlogged`: set where a publication of all tables would publish a logged table to subscribers that do not have it.
    """
    stage.images = sql.Identifier(*relation.key)
    stage.run("create schema if not exists {schema}", schema=sql.Identifier(relation.schema_name))
    kind = sql.SQL("unlogged table") if unlogged else sql.SQL("table")
    stage.run(
        "create {kind} if not exists {into} as select s.{n}, s.{op}, t.* from {name} s, {original} t with no data",
        into=stage.images,
        kind=kind,
    )
    what = sql.Literal(f"before-images of {stage.table.name}")
    stage.run("comment on table {into} is {what}", into=stage.images, what=what)


def keep_before_images(stage: Stage) -> None:
    """Copy every live row that is about to change, and the key of every row to come, into that table.

    That needs no lock: a row of which another version is live by then will not be written (row_obstacles.mark_stale).
    """
    names = [column.name for column in stage.table.columns]
    leaving = any(stage.ops[op] for op in LEAVES)
    if stage.table.key and not leaving and not any(column.has_domain for column in stage.table.columns):
        # only rows to come: the live table need not be read; a domain might refuse the nulls
        values: list[sql.Composable] = [
            sql.Identifier(name) if name in stage.table.key else sql.SQL("null") for name in names
        ]
        source = stage.sql("{name} s where s.{skip} is null and s.{op} = {insert}")
    elif stage.table.key:
        values = [_before(stage, name) for name in names]
        source = stage.sql(
            "{name} s left join {original} t on s.{op} in ({update}, {delete}) and {same} and t.xmin = s.{xmin}"
            " where s.{skip} is null and s.{op} in ({writes})"
        )
    else:
        # without a key nothing is updated, and a row that leaves is known by all its values
        values = [stage.sql("case s.{op} when {delete} then s.{own} end", own=sql.Identifier(name)) for name in names]
        source = stage.sql("{name} s where s.{skip} is null and s.{op} in ({insert}, {delete})")
    stage.kept = stage.kept.plus(
        _digested(
            stage,
            "insert into {into} select {values} from {source}",
            source=source,
            values=sql.SQL(", ").join([stage.sql("s.{n}"), stage.sql("s.{op}"), *values]),
        )
    )


def _before(stage: Stage, column: str) -> sql.Composable:
    """A column of the live row; of a row to come, its key alone."""
    own = sql.Identifier(column)
    if column not in stage.table.key:
        return sql.SQL("t.{}").format(own)
    return stage.sql("case s.{op} when {insert} then s.{own} else t.{own} end", own=own)


def drop_before_images(stage: Stage) -> None:
    """Take those of rows out that are skipped after all."""
    stage.kept = stage.kept.minus(
        _digested(stage, "delete from {into} b using {name} s where b.{n} = s.{n} and s.{skip} is not null", row="b")
    )


def _digested(stage: Stage, text: str, *, row: str | None = None, **parts: sql.Composable) -> ImagesDigest:
    """Execute a template that inserts or deletes before-images; the digest of those it touched."""
    answer = stage.session.execute(
        stage.sql(
            f"with touched as ({text} returning {{hash}} as hash)"  # noqa: S608 (a template of ours)
            " select count(*), coalesce(sum(hash), 0)::text from touched",
            into=stage.images,
            hash=images_hash(stage, row),
            **parts,
        )
    ).fetchone()
    assert answer
    return ImagesDigest(rows=answer[0], checksum=int(answer[1]))


def images_hash(stage: Stage, row: str | None = None) -> sql.Composable:
    """The hash of one before-image, under the alias `row`."""
    columns = [(column.name, column.base_type) for column in stage.table.columns]
    return _hash(stage.session, [stage.n, stage.op], columns, row)


def _hash(
    session: Session, own: Sequence[sql.Identifier], columns: Sequence[tuple[str, str]], row: str | None = None
) -> sql.Composable:
    """Texts, which the session's settings make exact; bytea as it is, because its text may be too long for one."""
    values = [*((name, "text") for name in own), *((sql.Identifier(name), kind) for name, kind in columns)]
    alias = sql.SQL("") if row is None else sql.SQL("{}.").format(sql.Identifier(row))
    return row_hash(
        ((alias + name, kind if kind == "bytea" else "text") for name, kind in values),
        version_num=session.info.server_version,
    )


def image_table(schema: str, number: int, no: int) -> TableName:
    """The table with the images of table `no` of change set `number`, in the schema of the case."""
    return TableName(schema_name=schema, name=f"before_{number}_{no}")


class Images:
    """The before-images of one table, as they are in the database now. Raises LookupError where there are none."""

    def __init__(self, session: Session, relation: TableName) -> None:
        self._session, self._relation = session, relation
        rows = session.execute(_COLUMNS, relation.key).fetchall()
        if len(rows) < OWN_COLUMNS:
            raise LookupError(f"{relation} does not exist")
        self._own = [sql.Identifier(name) for name, _ in rows[:OWN_COLUMNS]]
        self.columns = {name: kind for name, kind in rows[OWN_COLUMNS:]}

    def digest(self) -> ImagesDigest:
        """Of all of them, to be compared with the one that was recorded when they were kept."""
        row_hashed = _hash(self._session, self._own, list(self.columns.items()))
        answer = self._session.execute(
            sql.SQL("select count(*), coalesce(sum({}), 0)::text from {}").format(
                row_hashed, sql.Identifier(*self._relation.key)
            )
        ).fetchone()
        assert answer
        return ImagesDigest(rows=answer[0], checksum=int(answer[1]))

    def rows(self, fields: Sequence[Field]) -> Iterator[tuple[int, str, Values]]:
        """(number, operation i, u or d, values of `fields` as texts) of each, in the order they were planned."""
        texts = [field.carried for field in fields]
        for number, op, *values in stream(
            self._session,
            sql.SQL("select {} from {} order by {}").format(
                sql.SQL(", ").join([*(sql.SQL("{}::text").format(name) for name in self._own), *texts]),
                sql.Identifier(*self._relation.key),
                self._own[0],
            ),
        ):
            yield int(number or 0), str(op), tuple(values)
