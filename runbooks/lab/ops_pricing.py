"""AWS's price list as far as rowback asks it: an hour of an instance class. moto has none; the prices are ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

USD_PER_HOUR = {
    "db.t3.micro": "0.0200000000", "db.t4g.micro": "0.0180000000", "db.t4g.medium": "0.0720000000",
    "db.m6g.large": "0.1750000000", "db.r6g.large": "0.2530000000", "db.r6g.4xlarge": "2.0240000000",
}  # fmt: skip


def get_products(request: Mapping[str, Any]) -> dict[str, Any]:
    """GetProducts with TERM_MATCH filters: each product is a JSON document in a string, as AWS has it."""
    wanted = {each["Field"]: each["Value"] for each in request.get("Filters", ())}
    found = [
        json.dumps(_product(name, price, wanted.get("regionCode", "")))
        for name, price in USD_PER_HOUR.items()
        if wanted.get("instanceType", name) == name
    ]
    return {"FormatVersion": "aws_v1", "PriceList": found if request.get("ServiceCode") == "AmazonRDS" else []}


def _product(name: str, price: str, region: str) -> dict[str, Any]:
    attributes = {
        "instanceType": name, "regionCode": region, "databaseEngine": "PostgreSQL", "deploymentOption": "Single-AZ",
    }  # fmt: skip
    dimension = {"unit": "Hrs", "pricePerUnit": {"USD": price}, "description": f"${price} per {name} hour"}
    term = {"priceDimensions": {"LAB.JRTCKXETXF.6YS6EN2CT7": dimension}, "sku": "LAB"}
    return {
        "product": {"productFamily": "Database Instance", "attributes": attributes, "sku": "LAB"},
        "serviceCode": "AmazonRDS",
        "terms": {"OnDemand": {"LAB.JRTCKXETXF": term}},
    }
