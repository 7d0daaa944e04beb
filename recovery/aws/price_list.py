"""What a copy costs: AWS's price list when it answers, else a small table with its date, else unknown.

Single-AZ, on demand, billed by the second with ten minutes at least (sources: RDS-cost). Extended Support is not
counted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

from recovery.aws.clients import client, translated
from recovery.errors import RowbackError
from recovery.model.instance import Storage
from recovery.model.outlook import Price

GENERAL, PROVISIONED = frozenset({"gp2", "gp3", ""}), frozenset({"io1", "io2"})
LISTED_IN = "us-east-1"  # the price list is offered in three regions only
TIMEOUT_S = 3.0
# Storage of one kind costs the same for every engine but a few, and is listed for none of them by name.
ENGINE, ANY_ENGINE = "PostgreSQL", "Any"
VOLUMES = {
    "gp2": "General Purpose",
    "gp3": "General Purpose-GP3",
    "io1": "Provisioned IOPS",
    "io2": "Provisioned IOPS-IO2",
    "standard": "Magnetic",
}


def price_of(instance_class: str, region: str, storage: Storage) -> Price | None:
    """The on-demand price of an instance class for one hour, and of such storage where it is listed.

    None where neither the price list nor the table of this version has the class.
    """
    table = _table()
    try:
        listed = _dearest({"instanceType": instance_class, "productFamily": "Database Instance"}, "Hrs", region)
        stored, iops = _storage_price(storage, region)
    except RowbackError:
        listed, iops = None, 0.0
        stored = table["storage_usd_per_gib_month"].get(region) if storage.kind in GENERAL else None
    if listed is not None:
        source = f"AWS's price list, {datetime.now(UTC):%Y-%m-%d}"
        return Price(usd_per_hour=listed, storage_usd_per_gib_month=stored, iops_usd_per_month=iops, source=source)
    usd_per_hour = table["usd_per_hour"].get(region, {}).get(instance_class)
    if usd_per_hour is None:
        return None
    return Price(
        usd_per_hour=usd_per_hour, storage_usd_per_gib_month=stored, source=f"rowback's table of {table['as_of']}"
    )


def _storage_price(storage: Storage, region: str) -> tuple[float | None, float]:
    """US dollars a month: of one GiB, None where it is not listed, and of all IOPS that are provisioned."""
    kind = storage.kind or "gp3"
    volume = {"databaseEngine": ANY_ENGINE, "volumeType": VOLUMES.get(kind, kind)}
    stored = _dearest({"productFamily": "Database Storage", **volume}, "GB-Mo", region)
    if kind not in PROVISIONED or not storage.iops:
        return stored, 0.0
    one = _dearest({"productFamily": "Provisioned IOPS", "databaseEngine": ANY_ENGINE}, "IOPS-Mo", region)
    return (stored, one * storage.iops) if one is not None else (None, 0.0)  # they cost most of it


def _dearest(product: Mapping[str, str], unit: str, region: str) -> float | None:
    """The highest price of such a product."""
    criteria = {"regionCode": region, "databaseEngine": ENGINE, "deploymentOption": "Single-AZ", **product}
    with translated("pricing:GetProducts"):
        answer = client("pricing", region=LISTED_IN, timeout_s=TIMEOUT_S).get_products(
            ServiceCode="AmazonRDS",
            MaxResults=100,
            Filters=[{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in criteria.items()],
        )
    return max((price for text in answer["PriceList"] for price in _on_demand(json.loads(text), unit)), default=None)


def _on_demand(product: dict[str, Any], unit: str) -> list[float]:
    """The prices of one product, for each of its units."""
    return [
        float(dimension["pricePerUnit"]["USD"])
        for term in product.get("terms", {}).get("OnDemand", {}).values()
        for dimension in term["priceDimensions"].values()
        if dimension["unit"] == unit and "USD" in dimension["pricePerUnit"]
    ]


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(files("recovery.aws").joinpath("prices.json").read_text())
    return table
