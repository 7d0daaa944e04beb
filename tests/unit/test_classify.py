"""What became of a row, who did it, and whether types widen: pure, by example."""

from __future__ import annotations

import pytest

from recovery.changeset.column_mapping import widens
from recovery.changeset.row_change import Change
from recovery.compare.classify_row import Effect, Entity, attribute, resolve
from recovery.config import load_profile
from recovery.errors import RowbackError
from recovery.model.modes.reload_mode import Mode
from recovery.model.repair_plan import RepairRequest
from recovery.model.row_class import OnConflict, Op, RowClass

BAD, APP = 100, 101


def changed(target: tuple[str | None, ...], live: tuple[str | None, ...], xmin: int) -> Change:
    return Change(0, target[:1], RowClass.CHANGED, target, live, xmin)


def effect(*rows: tuple[tuple[str | None, ...], tuple[str | None, ...]]) -> Effect:
    found = Effect()
    for target, live in rows:
        found.learn([target], [live])
    return found


ZEROED = effect((("1", "10", "a"), ("1", "0", "a")), (("2", "20", "b"), ("2", "0", "b")))
DOUBLED = effect((("1", "10", "a"), ("1", "20", "a")), (("2", "20", "b"), ("2", "40", "b")))
ENTITY = Entity(own=(1, 2), distinct=())


@pytest.mark.parametrize(
    ("known", "target", "live", "xmin", "kind"),
    [
        (ZEROED, ("3", "30", "c"), ("3", "0", "c"), BAD, RowClass.REVERTED),
        (ZEROED, ("3", "30", "c"), ("3", "0", "edited"), APP, RowClass.CONFLICT),  # the zero is still there
        (ZEROED, ("3", "30", "c"), ("3", "31", "c"), APP, RowClass.NEWER),  # corrected since
        (ZEROED, ("3", "30", "c"), ("3", "30", "edited"), APP, RowClass.NEWER),  # never hit
        (ZEROED, ("3", "30", "c"), ("3", "99", "z"), APP, RowClass.REUSED),  # nothing is as it was
        (ZEROED, ("3", "30", "c"), ("3", "0", "edited"), BAD, RowClass.CONFLICT),  # the title is not the incident's
        (DOUBLED, ("3", "30", "c"), ("3", "61", "c"), APP, RowClass.CONFLICT),  # whose price is it?
    ],
)
def test_who_changed_a_row(
    known: Effect, target: tuple[str, ...], live: tuple[str, ...], xmin: int, kind: RowClass
) -> None:
    assert attribute(changed(target, live, xmin), known, ENTITY, frozenset({BAD})).kind is kind


def test_without_a_named_incident_nobody_is_blamed() -> None:
    found = attribute(changed(("3", "30", "c"), ("3", "0", "c"), BAD), Effect(), ENTITY, frozenset())
    assert found.kind is RowClass.CHANGED


@pytest.mark.parametrize(
    ("policy", "op", "want"),
    [
        (OnConflict.KEEP_LIVE, Op.KEEP, None),
        (OnConflict.TAKE_T, Op.UPDATE, ("3", "30", "c")),
        (OnConflict.MERGE, Op.UPDATE, ("3", "30", "edited")),
    ],
)
def test_conflicts_are_resolved_as_asked(policy: OnConflict, op: Op, want: tuple[str, ...] | None) -> None:
    request = RepairRequest(mode=Mode.REPAIR, incident_xids=(BAD,), on_conflict=policy)
    conflict = attribute(changed(("3", "30", "c"), ("3", "0", "edited"), APP), ZEROED, ENTITY, frozenset({BAD}))
    resolved = resolve(conflict, request, ZEROED)
    assert (resolved.op, resolved.want) == (op, want)


@pytest.mark.parametrize("mode", [Mode.MISSING, Mode.REPAIR])
def test_newer_rows_are_kept(mode: Mode) -> None:
    newer = attribute(changed(("3", "30", "c"), ("3", "30", "edited"), APP), ZEROED, ENTITY, frozenset({BAD}))
    assert resolve(newer, RepairRequest(mode=mode), ZEROED).op is Op.KEEP


@pytest.mark.parametrize(
    ("then", "now", "expected"),
    [
        ("smallint", "bigint", True),
        ("bigint", "integer", False),
        ("integer", "numeric", True),
        ("integer", "numeric(10,2)", False),
        ("numeric(4,2)", "numeric(6,2)", True),
        ("numeric(4,2)", "numeric(6,3)", True),
        ("numeric(4,2)", "numeric(4,3)", False),
        ("character varying(5)", "character varying(9)", True),
        ("character varying(9)", "character varying(5)", False),
        ("character varying", "character varying(5)", False),
        ("character varying(5)", "text", True),
        ("text", "integer", False),
        ("real", "double precision", False),
    ],
)
def test_only_types_that_keep_every_value_are_mapped(then: str, now: str, expected: bool) -> None:
    assert widens(then, now) is expected


def test_a_reference_names_four_parts(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("config") / "rowback.toml"
    file.write_text('[profiles.p]\n[[reference]]\nfrom = "a.public.t.x"\nto = "b.public.u.y"\n')
    (reference,) = load_profile("p", file=file).references
    assert str(reference) == "a.public.t.x → b.public.u.y"
    file.write_text('[profiles.p]\n[[reference]]\nfrom = "t.x"\nto = "b.public.u.y"\n')
    with pytest.raises(RowbackError) as refused:
        load_profile("p", file=file)
    assert refused.value.fact.endswith("reference.0.from: Value error, write it database.schema.table.column")
