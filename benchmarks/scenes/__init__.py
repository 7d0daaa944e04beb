"""What is measured: one file each, and their registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchmarks.bench_lab import Bench, Line
from benchmarks.scenes import (
    bad_update,
    client_memory,
    copy_blocks,
    differences,
    dropped_objects,
    lost_rows,
    many_tables,
    swap_lock,
    wal_of_repairs,
    whole_tables,
)

SCENES: Mapping[str, Callable[[Bench], list[Line]]] = {
    "whole-tables": whole_tables.measure,
    "swap-lock": swap_lock.measure,
    "lost-rows": lost_rows.measure,
    "bad-update": bad_update.measure,
    "differences": differences.measure,
    "wal": wal_of_repairs.measure,
    "many-tables": many_tables.measure,
    "dropped-objects": dropped_objects.measure,
    "memory": client_memory.measure,
    "copy-blocks": copy_blocks.measure,
}
