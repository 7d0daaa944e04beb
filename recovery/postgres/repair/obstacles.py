"""What keeps a staged row from being written: said by the server, by marking the row to be skipped."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql

from recovery.model.catalog import ForeignKey
from recovery.postgres.repair.rules import CheckRule, DistinctRule, expression
from recovery.postgres.repair.stage import Stage, refers

CHANGED_SINCE = "changed by others since it was read"


def mark_stale(stage: Stage) -> int:
    """Skip updates and deletes whose live row is not the very version that the diff saw."""
    return _mark(
        stage,
        CHANGED_SINCE,
        "s.{op} in ('u', 'd') and not exists (select from {live} t where {same} and t.xmin = s.{xmin})",
    )


def mark_taken(stage: Stage, rule: DistinctRule) -> int:
    """Skip rows that would collide with a live row in a unique or exclusion key."""
    # A live row that is itself replaced or deleted does not stand in the way.
    stays = sql.SQL("not ({})").format(stage.leaving()) if stage.table.key else sql.SQL("true")
    return stage.run(
        "update {name} set {skip} = format('unique key %I is taken by %s', {rule}::text, hit.shown)"
        " from ({collisions}) hit where {name}.{n} = hit.n and {name}.{skip} is null",
        rule=sql.Literal(rule.name), collisions=_collisions(stage, rule, stays, ops="'i', 'u'"),
    )  # fmt: skip


def waits_for(stage: Stage, op: str, rules: Sequence[DistinctRule]) -> bool:
    """Whether a row to come needs a key that a live row holds until it is updated (u) or deleted (d)."""
    ops = "'i'" if op == "u" else "'i', 'u'"
    return bool(stage.table.key) and any(
        stage.session.execute(_collisions(stage, rule, stage.leaving(ops=f"'{op}'"), ops=ops)).fetchone()
        for rule in rules
    )


def _collisions(stage: Stage, rule: DistinctRule, which: sql.Composable, *, ops: str) -> sql.Composed:
    """(n, the live row's key) of staged rows that collide with a live row for which `which` holds."""
    numbers = range(len(rule.expressions))
    values = [expression(text) for text in rule.expressions]
    names = [sql.Identifier(f"k{i}") for i in numbers]
    return stage.sql(
        "select distinct on (s.n) s.n, t.shown from"
        " (select {n} as n, {values} from {name} where {op} in ({ops}) and {skip} is null and {where}) s"
        " join (select row({shown})::text as shown, {values} from {live} t where {where} and {which}) t"
        " on {collide} order by s.n, t.shown",
        ops=expression(ops), which=which,
        where=expression(f"({rule.predicate})") if rule.predicate else sql.SQL("true"),
        values=sql.SQL(", ").join(sql.SQL("({}) as {}").format(values[i], names[i]) for i in numbers),
        shown=sql.SQL(", ").join(map(sql.Identifier, stage.table.key or stage.columns)),
        collide=sql.SQL(" and ").join(
            sql.SQL("s.{0} operator({1}.{2}) t.{0}").format(
                names[i], sql.Identifier(rule.operators[i][0]), expression(rule.operators[i][1])
            )
            for i in numbers
        ),
    )  # fmt: skip


def mark_violating(stage: Stage, rule: CheckRule) -> int:
    """Skip rows that a check, perhaps added since T, would refuse."""
    return stage.run(
        "update {name} set {skip} = {why} where {op} in ('i', 'u') and {skip} is null and not ({rule})",
        why=sql.Literal(f"it violates {rule.name}"), rule=expression(rule.expression),
    )  # fmt: skip


def mark_orphans(stage: Stage, key: ForeignKey, parents: Sequence[Stage]) -> int:
    """Skip rows whose parent is neither live nor planned, or is another entity now."""
    filled = sql.SQL(" and ").join(sql.SQL("s.{} is not null").format(sql.Identifier(c)) for c in key.columns)
    only = sql.SQL("only ") if key.parent_tables == (key.parent,) else sql.SQL("")
    deleted = [_planned(p, key, "p", "'d'") for p in parents if p.table.key]
    planned = [_planned(p, key, "s", "'i', 'u'") for p in parents]
    found = stage.sql(
        "exists (select from {only}{parent} p where {equal} and not ({deleted}))",
        only=only, parent=sql.Identifier(*key.parent.key), equal=refers(key, "s", "p"),
        deleted=sql.SQL(" or ").join(deleted or [sql.SQL("false")]),
    )  # fmt: skip
    marked = _mark(stage, 
        f"its parent in {key.parent} does not exist",
        "s.{op} in ('i', 'u') and {filled} and not ({found})",
        filled=filled, found=sql.SQL(" or ").join([found, *planned]),
    )  # fmt: skip
    for parent in parents:
        marked += _mark(stage, 
            f"its parent in {key.parent} is another entity now", "s.{op} = 'i' and {reused}",
            reused=_planned(parent, key, "s", "'k'"),
        )  # fmt: skip
    return marked


def mark_referenced(stage: Stage, key: ForeignKey, child: Stage | None) -> int:
    """Skip deletes of rows that a live row still references: a cascade must never do what nobody planned."""
    leaves: sql.Composable = sql.SQL("false")
    if child is not None and child.table.key:
        leaves = child.leaving("c")
    return _mark(stage, 
        f"it is still referenced from {key.child}",
        "s.{op} = 'd' and exists (select from only {child} c where {equal} and not {leaves})",
        child=sql.Identifier(*key.child.key), equal=refers(key, "c", "s"), leaves=leaves,
    )  # fmt: skip


def _planned(stage: Stage, key: ForeignKey, row: str, ops: str) -> sql.Composable:
    """Whether a row of this stage with one of `ops` is the parent of `row`, or is the parent `p` itstage."""
    equal = stage.same("p", "o") if row == "p" else refers(key, row, "o")
    skip = sql.SQL("true") if ops == "'k'" else stage.sql("o.{skip} is null")
    return stage.sql(
        "exists (select from {name} o where o.{op} in ({ops}) and {not_skipped} and {equal})",
        ops=expression(ops), not_skipped=skip, equal=equal,
    )  # fmt: skip


def _mark(stage: Stage, why: str, condition: str, **parts: sql.Composable) -> int:
    return stage.run(
        "update {name} s set {skip} = {why} where s.{skip} is null and {condition}",
        why=sql.Literal(why), condition=stage.sql(condition, **parts),
    )  # fmt: skip
