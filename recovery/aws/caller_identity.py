"""Whose account this is, and where it may work. Asked once and with little patience: a recovery can do without."""

from __future__ import annotations

from recovery.aws.clients import client, translated

TIMEOUT_S = 5.0


def regions(region: str | None) -> list[str]:
    """Every region that this account may use, as `region` tells it."""
    with translated("ec2:DescribeRegions"):
        rows = client("ec2", region=region, timeout_s=TIMEOUT_S).describe_regions()["Regions"]
    return sorted(row["RegionName"] for row in rows)


def caller(region: str | None) -> str:
    """The ARN these credentials belong to; needs no permission (AWS: GetCallerIdentity). Raises aws-credentials."""
    with translated("sts:GetCallerIdentity"):
        arn: str = client("sts", region=region, timeout_s=TIMEOUT_S).get_caller_identity()["Arn"]
    return arn
