"""Every page that rowback makes, in a real browser at the width of a phone and of a desk: no word is broken inside."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recovery.model.recovery_report import Objectives
from recovery.store.drill_history import DrillRecord
from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, restoring, the_case
from tests.fix_lab import Database, Live

WIDTHS = (360, 1280)
LONG = "a_name_of_a_table_that_is_as_long_as_postgresql_lets_it_be_63b"
# Words whose letters stand on two lines though the widest line that they stand in could hold them.
BROKEN = """
const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node; node = walker.nextNode();) {
  if (!node.parentElement.getClientRects().length || node.parentElement.closest('svg, pre')) continue;
  let block = node.parentElement;
  while (getComputedStyle(block).display.startsWith('inline')) block = block.parentElement;
  for (const word of node.data.matchAll(/[^\\s\\u00ad\\/-]+/g)) {
    const range = document.createRange();
    range.setStart(node, word.index); range.setEnd(node, word.index + word[0].length);
    const lines = [...new Set([...range.getClientRects()].map(box => Math.round(box.top)))];
    const width = [...range.getClientRects()].reduce((sum, box) => sum + box.width, 0);
    if (lines.length > 1 && width < block.clientWidth) found.push(word[0]);
  }
}
return found;
"""
SIDEWAYS = "const page = document.documentElement; return [page.scrollWidth, page.clientWidth]"


@pytest.fixture
def pages(cli: Cli, live: Live, database: Database, tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Report and status page of a recovery in part, coverage, drills, one drill."""
    database.run(
        f'create table {LONG} (id int primary key, "Weird Name; --" text)',
        'create table "Weird Name; --" (id int)',
        f"insert into {LONG} select g, repeat('word ', g) from generate_series(1, 40) g",
        'insert into "Weird Name; --" select generate_series(1, 5)',
    )
    target = pass_a_second()
    database.run(
        f"delete from {LONG} where id > 3",
        f"alter table {LONG} add constraint a_check_with_a_long_name_that_refuses_some check (id % 7 <> 0) not valid",
    )
    ran = cli(*restoring(cli, database, target), "--find")
    assert ran.code == 47, ran.err
    for each in range(4):
        record = DrillRecord(
            at=datetime.now(UTC) - timedelta(days=each),
            target=live.identifier,
            fault="truncate",
            passed=each != 2,
            recovery_time_s=30.0 + each,
            data_loss_s=1.0,
            objectives=Objectives(recovery_time_s=300, data_loss_s=60),
            phases_s={"await-copy": 20.0, "load": 3.0},
            rows=12_345,
            tool_version="0",
        )
        (cli.home / "drills").mkdir(parents=True, exist_ok=True)
        (cli.home / "drills" / f"2026110{each + 1}-000000-000000.json").write_text(record.model_dump_json())
    case = the_case(cli)["case"]
    made = {name: tmp_path / f"{name}.html" for name in ("report", "coverage", "drills")}
    made["report"].write_text(cli("report", case, "--format", "html").out)
    made["coverage"].write_text(cli("coverage", "--format", "html").out)
    made["drills"].write_text(cli("drills", "--format", "html").out)
    made["status"] = cli.home / "cases" / case / "status.html"
    yield made
    assert cli("close", case).code == 0


@pytest.mark.parametrize("width", WIDTHS)
def test_no_word_is_broken_and_nothing_scrolls_sideways(
    pages: dict[str, Path],
    browser: Any,
    width: int,
    tmp_path: Path,
) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    )
    wrong = {}
    for name, page in pages.items():
        for language in ("en", "ko") if name == "status" else ("",):
            browser.get("about:blank")
            browser.get(f"{page.as_uri()}#{language}")
            browser.save_screenshot(str(tmp_path / f"{name}{language}-{width}.png"))
            broken, (wide, shown) = browser.execute_script(BROKEN), browser.execute_script(SIDEWAYS)
            if broken or wide > shown:
                wrong[name, language] = (broken, wide, shown)
    assert wrong == {}
