"""Each shape runs on one of the two versions, in turns; with ROWBACK_ALL_SHAPES on both (`make kinds ALL=1`)."""

from __future__ import annotations

import os

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The n-th shape on 17 where n is even, else on 15."""
    if "ROWBACK_ALL_SHAPES" in os.environ:
        return
    shapes = [item for item in items if item.path.parent == config.rootpath / "tests" / "kinds" / "recreate"]
    order = {name: n for n, name in enumerate(sorted({_shape(item) for item in shapes}))}
    left_out = [item for item in shapes if item.name.split("[")[1].startswith("17-") == bool(order[_shape(item)] % 2)]
    items[:] = [item for item in items if item not in set(left_out)]
    config.hook.pytest_deselected(items=left_out)


def _shape(item: pytest.Item) -> str:
    return item.name.split("[")[1].partition("-")[2]
