"""A limit on what the copy may cost: kept by when it expires, or refused."""

from __future__ import annotations

from datetime import UTC, datetime

from recovery.aws.price_list import price_of
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.instance import STANDARD_SUPPORT_UNTIL, CopySettings, InstanceFacts
from recovery.model.outlook import Price


def expiry_within(limit_usd: float | None, settings: CopySettings, source: InstanceFacts) -> CopySettings:
    """The same settings, expiring before the limit is reached. Raises cost-ceiling where that cannot be promised.

    What has expired is removed by `rowback reap`, which a person, or cron, has to run.
    """
    if limit_usd is None:
        return settings
    where = f"{settings.instance_class} in {source.region}"
    if unknown := _unknown(
        price := price_of(settings.instance_class, source.region, settings.storage_like(source)), source
    ):
        raise RowbackError(
            ErrorId.COST_CEILING,
            f"nobody says what {where} costs, so ${limit_usd:,.2f} cannot be promised",
            unknown,
            state=NOTHING_CREATED,
            help="allow pricing:GetProducts, choose another copy_class, or leave --max-cost out",
        )
    assert price
    hours = int(limit_usd / price.hourly(source.allocated_gib))
    if hours < 1:
        raise RowbackError(
            ErrorId.COST_CEILING,
            f"one hour of {where} costs ${price.hourly(source.allocated_gib):,.2f}, more than ${limit_usd:,.2f}",
            f"according to {price.source}",
            state=NOTHING_CREATED,
            help="raise --max-cost, or choose a smaller copy_class in rowback.toml",
        )
    return settings.model_copy(update={"expires_after_hours": min(hours, settings.expires_after_hours)})


def _unknown(price: Price | None, source: InstanceFacts) -> str:
    """What of the cost is not known; empty where all of it is."""
    until = STANDARD_SUPPORT_UNTIL.get(source.major)
    if price is None:
        return "neither AWS's price list nor rowback's own table has it"
    if price.storage_usd_per_gib_month is None:
        return f"the price of its {source.allocated_gib:,} GiB of storage is not known"
    if until and until < datetime.now(UTC).date():
        return f"PostgreSQL {source.major} is charged Extended Support, whose price is not known"
    return ""
