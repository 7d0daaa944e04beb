"""What a copy costs: AWS's price list when it answers, else a small table with its date, else unknown.

Single-AZ, on demand, billed by the second with ten minutes at least (sources: RDS-cost). Provisioned IOPS and Extended
Support are not counted.
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
from recovery.model.outlook import Price

LISTED_IN = "us-east-1"  # the price list is offered in three regions only
TIMEOUT_S = 3.0
ENGINE = "PostgreSQL"


def price_of(instance_class: str, region: str) -> Price | None:
    """The on-demand price of an instance class for one hour, and of storage where it is listed.

    None where neither the price list nor the table of this version has the class.
    """
    table = _table()
    try:
        listed = _dearest({"instanceType": instance_class, "productFamily": "Database Instance"}, "Hrs", region)
        stored = _dearest({"productFamily": "Database Storage"}, "GB-Mo", region)
    except RowbackError:
        listed = stored = None
    storage = stored if stored is not None else table["storage_usd_per_gib_month"].get(region)
    if listed is not None:
        source = f"AWS's price list, {datetime.now(UTC):%Y-%m-%d}"
        return Price(usd_per_hour=listed, storage_usd_per_gib_month=storage, source=source)
    usd_per_hour = table["usd_per_hour"].get(region, {}).get(instance_class)
    if usd_per_hour is None:
        return None
    return Price(
        usd_per_hour=usd_per_hour, storage_usd_per_gib_month=storage, source=f"rowback's table of {table['as_of']}"
    )


def _dearest(product: Mapping[str, str], unit: str, region: str) -> float | None:
    """The highest price of such a product: which kind of storage the copy will have is not known here."""
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
