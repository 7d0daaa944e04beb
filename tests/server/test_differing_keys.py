"""Whatever a key is made of, the rows that differ are found, and no others: counted by SQL of the test's own."""

from __future__ import annotations

import pytest

from recovery.model.repair_plan import DetectionMethod
from tests.fix_repair import Past

ROWS = 6000
KEYS = {
    "dense integer": ("id int primary key", "g"),
    "from a sequence with holes": ("id bigint primary key", "g * 7 - 20000"),
    "far apart": ("id bigint primary key", "g * 100000007::bigint"),
    "uuid": ("id uuid primary key", "md5(g::text)::uuid"),
    "text": ("id text primary key", "'kéy ' || g"),
    "two columns": ("id int, part text, primary key (part, id)", "g, 'p' || g % 3"),
    "numeric": ("id numeric primary key", "g / 4.0"),
}
INCIDENTS = {
    "a few gone": ("delete from t where n in (1, 17, 3000, 5999, 6000)",),
    "one in twenty gone": ("delete from t where n % 20 = 3",),
    "gone where others wrote everywhere": (
        "update t set v = v || '!' where n % 9 = 0",
        "delete from t where n % 50 = 3",
        "update t set v = v || '?' where n % 9 = 1",
    ),
    "gone where others wrote in one place": (
        "update t set v = v || '!' where n between 100 and 110",
        "delete from t where n in (105, 106, 4000)",
    ),
    "gone and come again": (
        "create temporary table kept as select * from t where n between 2000 and 2100",
        "delete from t where n between 2000 and 2100",
        "insert into t select * from kept where n % 2 = 0",
        "delete from t where n = 5000",
    ),
    "changed alone": ("update t set v = 'x' where n % 100 = 1",),
    "all gone but one": ("delete from t where n <> 77",),
}


@pytest.mark.parametrize("incident", INCIDENTS)
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("lineage", [True, False], ids=["by lineage", "by buckets"])
def test_the_rows_that_differ_are_found(past: Past, key: str, incident: str, *, lineage: bool) -> None:
    definition, values = KEYS[key]
    create = f"create table t ({definition}, n int not null, v text)"
    with past(create, f"insert into t select {values}, g, 'value ' || g from generate_series(1, {ROWS}) g") as times:
        times.now.run(*INCIDENTS[incident])
        plan = times.diff(lineage=lineage)
        then, now = (dict(each.rows("select n, v from t")) for each in (times.then, times.now))
        with times.changes(1) as changes:
            (shape,), rows = changes.shapes(), list(changes.changes())
    at_n = shape.columns.index("n")
    differing = sorted(n for n in then.keys() | now.keys() if then.get(n) != now.get(n))
    assert sorted(int((row.target or row.original or ())[at_n] or 0) for row in rows) == differing
    if incident != "all gone but one":
        assert plan.tables[0].engine is (DetectionMethod.LINEAGE if lineage else DetectionMethod.BUCKETS)
