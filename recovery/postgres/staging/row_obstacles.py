"""What keeps a staged row from being written: said by the server, by marking the row to be skipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from recovery.model.catalog import ForeignKey
from recovery.model.values import TableName
from recovery.postgres.isolate_bad_rows import ROW_ERRORS, try_rows
from recovery.postgres.staging.key_collisions import rule_parts
from recovery.postgres.staging.row_constraints import CheckRule, DistinctRule
from recovery.postgres.staging.stage import Stage
from recovery.postgres.staging.stage_query import LEAVES, StagedOp, refers
from recovery.postgres.trusted_sql import trusted_sql

CHANGED_SINCE = "changed by others since it was read"
GONE_SINCE = "deleted by others since it was read"
BACK_ALREADY = "as many rows equal to it as T had are there by now"
FIXED_IDENTITY = 'column "{}" is GENERATED ALWAYS AS IDENTITY: no statement but INSERT can give it a value'
OLD_VERSION = "its table has no key, and it may be an old version of a row that was changed since it was read"
REFERENCED = "it is still referenced from "
STANDS_IN = (
    "it stands unchanged in {name}, which was made since T: a table that was split off? (if it is but a backup:"
    " --except {name})"
)
FOUND_IN = "it is found in "  # a reason that begins so says that nothing is lost


@dataclass(frozen=True)
class Elsewhere:
    """A table that rows may have moved to.

    `key_is_unique`: over all partitions of the root `name`, so a row of the same key is the same row; otherwise all
    common `columns` must agree. `made_since`: a table that was made since T, which may be a part that was split off, or
    a backup.
    """

    name: TableName
    columns: frozenset[str]
    key_is_unique: bool
    made_since: bool = False


def mark_stale(stage: Stage) -> int:
    """Skip updates and deletes whose live row is not the very version that the diff saw."""
    if not stage.ops[StagedOp.UPDATE] and not stage.ops[StagedOp.DELETE]:
        return 0
    if not stage.table.key:
        return _mark_stale_without_key(stage)
    stale = _mark(
        stage,
        CHANGED_SINCE,
        "s.{op} in ({update}, {delete}) and not exists (select from {original} t where {same} and t.xmin = s.{xmin})",
    )
    if stale and stage.ops[StagedOp.DELETE]:
        stage.run(
            "update {name} s set {skip} = {why} where s.{skip} = {changed} and s.{op} = {delete}"
            " and not exists (select from {original} t where {same})",
            why=sql.Literal(GONE_SINCE),
            changed=sql.Literal(CHANGED_SINCE),
        )
    return stale


def _mark_stale_without_key(stage: Stage) -> int:
    """Equal rows are counted: each of those planned to go needs one of its own.

    One that is not there any more may have been changed: no row comes back that may be an old version of it.
    """
    if not stage.ops[StagedOp.DELETE]:
        return 0
    stale = stage.mark(
        "update {name} s set {skip} = {why} from"
        " (select {n}, {planned} as content, {xmin}::text as wrote, row_number() over"
        "    (partition by {planned}, {xmin}::text order by {n}) as nth from {name} s where {op} = {delete}) q"
        " left join (select {there} as content, xmin::text as wrote, count(*) as equal from {original} t"
        "    group by 1, 2) l"
        " on l.content = q.content and l.wrote = q.wrote"
        " where s.{n} = q.{n} and s.{skip} is null and q.nth > coalesce(l.equal, 0)",
        why=sql.Literal(CHANGED_SINCE),
        planned=stage.row_text("s"),
        there=stage.row_text("t"),
    )
    return stale + (_mark(stage, OLD_VERSION, "s.{op} = {insert}") if stale else 0)


def mark_back_already(stage: Stage) -> int:
    """Skip rows without a key of which as many equal ones as T had are there by now.

    Another recovery, or people, put them back since they were compared. Where there is a key, it says so itself.
    """
    if stage.table.key or not stage.ops[StagedOp.INSERT]:
        return 0
    return stage.mark(
        "update {name} s set {skip} = {why}"
        " from (select {there} as content, count(*) as equal from {original} t where not ({leaving}) group by 1) l"
        " where s.{op} = {insert} and s.{skip} is null and l.content = {planned} and l.equal > s.{nth}",
        why=sql.Literal(BACK_ALREADY),
        there=stage.row_text("t"),
        planned=stage.row_text("s"),
        leaving=stage.leaving(),
    )


def mark_identity(stage: Stage) -> int:
    """Skip updates that would have to set a GENERATED ALWAYS identity: only an INSERT may give it a value."""
    fixed = [f for f in stage.fields if f.column.identity == "a" and f.name in stage.changing]
    return sum(
        _mark(
            stage,
            FIXED_IDENTITY.format(field.name),
            "s.{op} = {update} and exists (select from {original} t where {same} and {differs})",
            differs=stage.differs(field, "t", "s"),
        )
        for field in fixed
    )


def mark_moved(stage: Stage, elsewhere: Elsewhere) -> int:
    """Skip rows that stand in another table now: in another partition of the same root, or where a table was split."""
    if not stage.ops[StagedOp.INSERT]:
        return 0
    place: sql.Composable = sql.SQL("{} || r.tableoid::regclass::text").format(sql.Literal(FOUND_IN))
    if elsewhere.made_since:
        place = sql.SQL("{}::text").format(sql.Literal(STANDS_IN.format(name=elsewhere.name)))
    equal = stage.same("r", "s")
    if not elsewhere.key_is_unique:
        names = [name for name in stage.columns if name in elsewhere.columns]
        equal = sql.SQL("{} = {}").format(stage.row_text("r", names), stage.row_text("s", names))
    return stage.mark(
        "update {name} s set {skip} = {place} from {other} r"
        " where s.{op} = {insert} and s.{skip} is null and r.tableoid <> {own}::oid and {equal}",
        place=place,
        other=sql.Identifier(*elsewhere.name.key),
        equal=equal,
        own=sql.Literal(stage.table.oid),
    )


def mark_violating(stage: Stage, rule: CheckRule) -> None:
    """Skip rows that a check, perhaps added since T, would refuse, or cannot even be asked about."""
    which = "{op} in ({puts})" if rule.column is None or rule.column in stage.changing else "{op} = {insert}"

    def ask(some: sql.Composable) -> None:
        stage.mark(
            # under the table's own name: an expression may speak of the whole row by it
            "update {name} as {itself} set {skip} = {why} where {skip} is null and {which} and {some} and not ({rule})",
            why=sql.Literal(f"it violates {rule.name}"),
            rule=trusted_sql(rule.expression),
            itself=sql.Identifier(stage.table.name.name),
            which=stage.sql(which),
            some=some,
        )

    def ask_of(numbers: Sequence[int]) -> None:
        ask(stage.sql("{n} = any({numbers})", numbers=sql.Literal(list(numbers))))

    try:
        with stage.session.transaction():
            ask(sql.SQL("true"))
    except ROW_ERRORS:
        try_rows(stage.session, stage.numbers(stage.sql(which)), ask_of, stage.set_aside)


def count_violating(stage: Stage, rule: CheckRule) -> int:
    """How many rows to be written a check would refuse; none where it cannot even be asked about one of them."""
    try:
        with stage.session.transaction():
            return len(
                stage.numbers(
                    stage.sql(
                        "{n} in (select {n} from {name} as {itself} where {op} in ({puts}) and not ({rule}))",
                        rule=trusted_sql(rule.expression),
                        itself=sql.Identifier(stage.table.name.name),
                    )
                )
            )
    except ROW_ERRORS:
        return 0


def mark_orphans(stage: Stage, key: ForeignKey, parents: Sequence[Stage]) -> int:
    """Skip rows whose parent is neither live nor planned, or is another entity now.

    Where the key is away meanwhile, rows that had no parent at T either are written.
    """
    filled = sql.SQL(" and ").join(sql.SQL("s.{} is not null").format(sql.Identifier(c)) for c in key.columns)
    only = sql.SQL("only ") if key.parent_tables == (key.parent,) else sql.SQL("")
    deleted = [p.leaving("p", ops=[StagedOp.DELETE]) for p in parents]
    planned = [_planned(p, key, "s") for p in parents]
    parent_exists = stage.sql(
        "exists (select from {only}{parent} p where {equal} and not ({deleted}))",
        only=only,
        parent=sql.Identifier(*key.parent.key),
        equal=refers(key, "s", "p"),
        deleted=sql.SQL(" or ").join(deleted or [sql.SQL("false")]),
    )
    moved = stage.sql("s.{op} = {insert}")
    if stage.table.key:  # a reference that stays as it is may dangle already: the key may be NOT VALID
        changes = (sql.SQL("t.{0} is distinct from s.{0}").format(sql.Identifier(column)) for column in key.columns)
        moved = stage.sql(
            "(s.{op} = {insert}"
            " or s.{op} = {update} and exists (select from {original} t where {same} and ({changes})))",
            changes=sql.SQL(" or ").join(changes),
        )
    had = stage.had_parent(key, parents) if key.name in stage.lifted else sql.SQL("true")
    marked = _mark(
        stage,
        f"its parent in {key.parent} does not exist ({key.name})",
        "{moved} and {filled} and not ({found}) and {had}",
        moved=moved,
        filled=filled,
        found=sql.SQL(" or ").join([parent_exists, *planned]),
        had=had,
    )
    for parent in parents:
        marked += _mark(
            stage,
            f"its parent in {key.parent} is another entity now ({key.name})",
            "{moved} and {reused}",
            moved=moved,
            reused=_another(parent, key, "s"),
        )
    return marked


def schedule_before_deletes(
    stage: Stage, references: Sequence[tuple[ForeignKey, Stage]], rules: Sequence[DistinctRule]
) -> int:
    """Let updates come before deletes that they release.

    Rows that let go of a parent about to be deleted, need none that is only to come, and keep all their unique keys.
    `references`: the table's foreign keys with their parents' stages.
    """
    if not stage.table.key or not references:
        return 0
    released = (
        stage.sql(
            "exists (select from {original} t where {same} and exists"
            " (select from {parent} o where o.{pop} = {delete} and o.{pskip} is null and {equal}))",
            parent=parent.name,
            pop=parent.op,
            pskip=parent.skip,
            equal=refers(key, "t", "o"),
        )
        for key, parent in references
    )
    needed = (
        stage.sql(
            "exists (select from {parent} o where o.{pop} = {insert} and {equal})",
            parent=parent.name,
            pop=parent.op,
            equal=refers(key, "s", "o"),
        )
        for key, parent in references
    )
    conditions = (
        stage.sql(
            "exists (select from (select {values} from {original} t where {same}) a,"
            " (select {values} from {name} o where o.{n} = s.{n}) b where {alike})",
            values=rule_parts(stage, rule)["values"],
            alike=sql.SQL(" and ").join(
                sql.SQL("a.{0}::text is not distinct from b.{0}::text").format(sql.Identifier(f"rowback_k{i}"))
                for i in range(len(rule.expressions))
            ),
        )
        for rule in rules
    )
    return stage.run(
        "update {name} s set {early} = true where s.{op} = {update} and s.{skip} is null and not s.{early}"
        " and ({released}) and not ({needed}) and {kept}",
        released=sql.SQL(" or ").join(released),
        needed=sql.SQL(" or ").join(needed),
        kept=sql.SQL(" and ").join([sql.SQL("true"), *conditions]),
    )


def mark_referenced(stage: Stage, key: ForeignKey, child: Stage | None, *, first: bool) -> int:
    """Skip deletes of rows that a live row still references, and updates of what it references.

    Referential actions must not change rows that the plan does not contain. `first`: the deletes come before children
    are moved away, so only children that are deleted as well, or moved away early, do not count.
    """
    leaves: sql.Composable = sql.SQL("false")
    if child is not None:
        leaves = child.leaving("c", ops=LEAVES)
        if first and child.table.key:
            leaves = child.sql(
                "({deleted} or {moved})", deleted=child.leaving("c", ops=[StagedOp.DELETE]), moved=child.moved("c")
            )
    why, table = f"{REFERENCED}{key.child}", sql.Identifier(*key.child.key)
    marked = stage.mark(
        "update {name} s set {skip} = case when s.{skip} is null then {why} else s.{skip} || ', ' || {child_name} end"
        " where (s.{skip} is null or starts_with(s.{skip}, {prefix}) and position("
        "   ', ' || {child_name} || ', ' in ', ' || substr(s.{skip}, length({prefix}) + 1) || ', ') = 0)"
        " and s.{op} = {delete} and exists (select from only {child} c where {equal} and not {leaves})",
        why=sql.Literal(why),
        prefix=sql.Literal(REFERENCED),
        child_name=sql.Literal(str(key.child)),
        child=table,
        equal=refers(key, "c", "s"),
        leaves=leaves,
    )
    if stage.table.key and not set(key.parent_columns) <= set(stage.table.key):
        changes = (sql.SQL("t.{0} is distinct from s.{0}").format(sql.Identifier(c)) for c in key.parent_columns)
        marked += _mark(
            stage,
            why,
            "s.{op} = {update} and exists (select from {original} t where {same} and ({changes})"
            " and exists (select from only {child} c where {equal}))",
            child=table,
            equal=refers(key, "c", "t"),
            changes=sql.SQL(" or ").join(changes),
        )
    return marked


def _planned(stage: Stage, key: ForeignKey, row: str) -> sql.Composable:
    """Whether a row of this stage that is put back is the parent of `row`."""
    equal = refers(key, row, "o")
    return stage.sql(
        "exists (select from {name} o where o.{op} in ({puts}) and o.{skip} is null and {equal})",
        equal=equal,
    )


def _another(stage: Stage, key: ForeignKey, row: str) -> sql.Composable:
    """Whether the parent of `row` is not the one it had: its key names another entity, or it was taken just now."""
    return stage.sql(
        "exists (select from {name} o where {equal}"
        " and (o.{op} = {staying} or o.{op} = {insert} and o.{skip} is not null"
        " or o.{op} = {earlier} and not exists (select from {original} t where {same} and t.xmin = o.{xmin})))",
        equal=refers(key, row, "o"),
        same=stage.same("t", "o"),
    )


def _mark(stage: Stage, why: str, condition: str, **parts: sql.Composable) -> int:
    return stage.mark(
        "update {name} s set {skip} = {why} where s.{skip} is null and {condition}",
        why=sql.Literal(why),
        condition=stage.sql(condition, **parts),
    )
