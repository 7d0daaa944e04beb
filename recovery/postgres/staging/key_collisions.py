"""Unique and exclusion keys that staged rows want: taken by live rows, by each other, or free only in a while."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from psycopg import sql

from recovery.model.values import TableName
from recovery.postgres.staging.row_constraints import DistinctRule, Rules
from recovery.postgres.staging.stage import Stage, mark_at_once
from recovery.postgres.staging.stage_query import PUTS, StagedOp, op_list
from recovery.postgres.trusted_sql import trusted_sql


def mark_taken(stages: Mapping[TableName, Stage], rules: Mapping[TableName, Rules]) -> int:
    """Skip rows that would collide in a unique or exclusion key with a live row."""
    return mark_at_once(
        (stage, text)
        for name, stage in stages.items()
        for rule in rules[name].distinct
        for text in _taken_by_live_rows(stage, rule)
    )


def _taken_by_live_rows(stage: Stage, rule: DistinctRule) -> Iterator[sql.Composed]:
    own_key = _is_own_key(stage, rule)
    ops = (StagedOp.INSERT,) if own_key else PUTS  # an update keeps its row's key
    if any(stage.ops[op] for op in ops):
        free = sql.SQL("not ({})").format(stage.leaving())
        hits = _collisions(stage, rule, free, ops=ops)
        yield _marking(stage, "unique key %I is taken by %s", rule, hits)
    if stage.table.key and stage.ops[StagedOp.UPDATE] and not rule.deferrable and not own_key:
        updates = (StagedOp.UPDATE,)
        # One statement updates them all, and the server looks at each row on its own.
        swapped = _collisions(stage, rule, stage.leaving(ops=updates), ops=updates, others=True)
        yield _marking(stage, "unique key %I is held by %s until that is repaired itself", rule, swapped)


def mark_rivals(stage: Stage, rule: DistinctRule) -> int:
    """Skip rows that would collide in a unique or exclusion key with one that is put back too."""
    if _is_own_key(stage, rule):
        return 0
    return mark_at_once([(stage, _marking(stage, "unique key %I is wanted by %s as well", rule, _rivals(stage, rule)))])


def _is_own_key(stage: Stage, rule: DistinctRule) -> bool:
    return bool(stage.table.key) and rule.predicate is None and set(rule.columns) == set(stage.table.key)


def _marking(stage: Stage, why: str, rule: DistinctRule, hits: sql.Composed) -> sql.Composed:
    return stage.sql(
        "update {name} set {skip} = format({why}::text, {rule}::text, hit.shown)"
        " from ({hits}) hit where {name}.{n} = hit.{n} and {name}.{skip} is null",
        why=sql.Literal(why),
        rule=sql.Literal(rule.name),
        hits=hits,
    )


def blocks_key(stage: Stage, op: StagedOp, rules: Sequence[DistinctRule]) -> bool:
    """Whether a row to come needs a key that a live row holds until it is updated or deleted (`op`)."""
    ops = (StagedOp.INSERT,) if op is StagedOp.UPDATE else PUTS
    possible = stage.table.key or op is StagedOp.DELETE  # without a key nothing is updated
    return bool(possible and stage.ops[op]) and any(
        stage.session.execute(
            stage.sql("{hits} limit 1", hits=_collisions(stage, rule, stage.leaving(ops=[op]), ops=ops))
        ).fetchone()
        for rule in rules
    )


def _collisions(
    stage: Stage, rule: DistinctRule, which: sql.Composable, *, ops: Sequence[StagedOp], others: bool = False
) -> sql.Composed:
    """(n, the live row's key) of staged rows that collide with a live row `t` for which `which` holds.

    `others`: with another row than their own.

    Nothing in it depends on the pair but the key's operators, so that the server may hash or merge, or go by index.
    """
    parts = rule_parts(stage, rule)
    key = (
        [
            sql.SQL("{0} as {1}").format(sql.Identifier(name), sql.Identifier(f"rowback_p{i}"))
            for i, name in enumerate(stage.table.key)
        ]
        if others
        else []
    )
    other: sql.Composable = sql.SQL("true")
    if others:
        other = sql.SQL("({}) is distinct from ({})").format(
            *(
                sql.SQL(", ").join(sql.Identifier(side, f"rowback_p{i}") for i in range(len(stage.table.key)))
                for side in "st"
            )
        )
    return stage.sql(
        "select distinct on (s.{n}) s.{n}, t.shown from"
        " (select {n}, {values} from {name} where {op} in ({ops}) and {skip} is null and {where}) s"
        " join (select row({shown})::text as shown, {values} from {original} t where {where} and {which}) t"
        " on {collide} and {other} order by s.{n}, t.shown",
        **{
            **parts,
            "ops": op_list(ops),
            "which": which,
            "other": other,
            "values": sql.SQL(", ").join([*key, parts["values"]]),
        },
    )


def _rivals(stage: Stage, rule: DistinctRule) -> sql.Composed:
    """(n, the rival's key) of staged rows that want what a staged row before them wants."""
    return stage.sql(
        "select distinct on (s.{n}) s.{n}, t.shown from"
        " (select {n}, {values} from {name} where {op} in ({puts}) and {skip} is null and {where}) s"
        " join (select {n}, row({shown})::text as shown, {values} from {name}"
        "       where {op} in ({puts}) and {skip} is null and {where}) t"
        " on t.{n} < s.{n} and {collide} order by s.{n}, t.shown",
        **rule_parts(stage, rule),
    )


def rule_parts(stage: Stage, rule: DistinctRule) -> dict[str, sql.Composable]:
    """Pieces of SQL of a rule: its predicate, its expressions as columns, how a row is shown, how two rows collide."""
    names = [sql.Identifier(f"rowback_k{i}") for i in range(len(rule.expressions))]
    same = sql.SQL("s.{0} operator({1}.{2}) t.{0}")
    if not rule.nulls_distinct:
        same = sql.SQL("(s.{0} operator({1}.{2}) t.{0} or (s.{0} is null and t.{0} is null))")
    return {
        "where": trusted_sql(f"({rule.predicate})") if rule.predicate else sql.SQL("true"),
        "values": sql.SQL(", ").join(
            sql.SQL("({}) as {}").format(trusted_sql(text), name)
            for text, name in zip(rule.expressions, names, strict=True)
        ),
        "shown": sql.SQL(", ").join(map(sql.Identifier, stage.table.key or stage.columns)),
        "collide": sql.SQL(" and ").join(
            same.format(name, sql.Identifier(schema), trusted_sql(operator))
            for name, (schema, operator) in zip(names, rule.operators, strict=True)
        ),
    }
