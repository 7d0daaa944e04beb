"""AWS's price list as far as rowback asks it: an hour of an instance class. moto has none; the prices are ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

USD_PER_HOUR = {
    "db.t3.micro": "0.0200000000",
    "db.t4g.micro": "0.0180000000",
    "db.t4g.medium": "0.0720000000",
    "db.m6g.large": "0.1750000000",
    "db.r6g.large": "0.2530000000",
    "db.r6g.4xlarge": "2.0240000000",
}


# AWS lists storage for the engine "Any", with a price for each volume type.
STORAGE = {
    "General Purpose": "0.1270000000",
    "General Purpose-GP3": "0.1270000000",
    "Provisioned IOPS": "0.1380000000",
    "Provisioned IOPS-IO2": "0.1380000000",
}
USD_PER_IOPS_MONTH = "0.1100000000"


def get_products(request: Mapping[str, Any]) -> dict[str, Any]:
    """GetProducts with TERM_MATCH filters: each product is a JSON document in a string, as AWS has it."""
    criteria = {each["Field"]: each["Value"] for each in request.get("Filters", ())}
    every = [
        *(
            {"productFamily": "Database Instance", "instanceType": name, "unit": "Hrs", "usd": usd}
            for name, usd in USD_PER_HOUR.items()
        ),
        *(
            {
                "productFamily": "Database Storage",
                "databaseEngine": "Any",
                "volumeType": kind,
                "unit": "GB-Mo",
                "usd": usd,
            }
            for kind, usd in STORAGE.items()
        ),
        {
            "productFamily": "Provisioned IOPS",
            "databaseEngine": "Any",
            "unit": "IOPS-Mo",
            "usd": USD_PER_IOPS_MONTH,
        },
    ]
    every = [{"databaseEngine": "PostgreSQL", **each} for each in every]
    products = [each for each in every if all(each.get(key, value) == value for key, value in criteria.items())]
    products = [each for each in products if "instanceType" not in criteria or "instanceType" in each]
    listed = [json.dumps(_product(each, criteria.get("regionCode", ""))) for each in products]
    return {"FormatVersion": "aws_v1", "PriceList": listed if request.get("ServiceCode") == "AmazonRDS" else []}


def _product(row: Mapping[str, str], region: str) -> dict[str, Any]:
    attributes = {"regionCode": region, "deploymentOption": "Single-AZ", **row}
    unit, price = attributes.pop("unit"), attributes.pop("usd")
    dimension = {"unit": unit, "pricePerUnit": {"USD": price}, "description": f"${price} per {unit}"}
    term = {"priceDimensions": {"LAB.JRTCKXETXF.6YS6EN2CT7": dimension}, "sku": "LAB"}
    return {
        "product": {"productFamily": attributes.pop("productFamily"), "attributes": attributes, "sku": "LAB"},
        "serviceCode": "AmazonRDS",
        "terms": {"OnDemand": {"LAB.JRTCKXETXF": term}},
    }
