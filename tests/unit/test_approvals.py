"""Who must have approved what: no demand can be softened by another."""

from __future__ import annotations

import pytest

from recovery.model.approval import Demand, Distinct

ACCOUNT, SESSION, PRINCIPAL = Distinct.ACCOUNT, Distinct.SESSION, Distinct.PRINCIPAL


@pytest.mark.parametrize(
    ("plan", "profile", "both"),
    [
        ((0, PRINCIPAL), (1, ACCOUNT), (1, ACCOUNT)),  # who wants nobody does not say who counts
        ((1, ACCOUNT), (0, PRINCIPAL), (1, ACCOUNT)),
        ((1, ACCOUNT), (1, PRINCIPAL), (1, PRINCIPAL)),
        ((2, ACCOUNT), (1, SESSION), (2, SESSION)),
        ((1, SESSION), (2, ACCOUNT), (2, SESSION)),
        ((0, PRINCIPAL), (0, ACCOUNT), (0, PRINCIPAL)),
    ],
)
def test_of_two_demands_both_are_met(
    plan: tuple[int, Distinct], profile: tuple[int, Distinct], both: tuple[int, Distinct]
) -> None:
    one, other, wanted = (Demand(needed=needed, by=by) for needed, by in (plan, profile, both))
    assert one.or_stricter(other) == wanted
