"""A ceiling on what the temporary instance may cost: kept by when it expires, or refused."""

from __future__ import annotations

from recovery.aws.pricing import price_of
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.instance import CopySettings, InstanceFacts


def within(ceiling_usd: float | None, settings: CopySettings, source: InstanceFacts) -> CopySettings:
    """The same settings, expiring before the ceiling is reached. Raises cost-ceiling where that cannot be promised."""
    if ceiling_usd is None:
        return settings
    where = f"{settings.instance_class} in {source.region}"
    price = price_of(settings.instance_class, source.region)
    if price is None:
        raise RowbackError(
            ErrorId.COST_CEILING, f"nobody says what {where} costs, so ${ceiling_usd:,.2f} cannot be promised",
            "neither AWS's price list nor rowback's own table has it", state=NOTHING_CREATED,
            help="allow pricing:GetProducts, choose another copy_class, or leave --max-cost out",
        )  # fmt: skip
    hours = int(ceiling_usd / price.hourly(source.allocated_gib))
    if hours < 1:
        raise RowbackError(
            ErrorId.COST_CEILING, f"one hour of {where} costs ${price.hourly(source.allocated_gib):,.2f}, more than"
            f" ${ceiling_usd:,.2f}", f"according to {price.source}", state=NOTHING_CREATED,
            help="raise --max-cost, or choose a smaller copy_class in rowback.toml",
        )  # fmt: skip
    return settings.model_copy(update={"expires_after_hours": min(hours, settings.expires_after_hours)})
