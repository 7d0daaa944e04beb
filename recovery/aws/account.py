"""Whose account this is, and where it may work."""

from __future__ import annotations

from recovery.aws.session import client, translated


def regions() -> list[str]:
    """Every region that this account may use for RDS."""
    with translated("ec2:DescribeRegions"):
        rows = client("ec2", region=None).describe_regions()["Regions"]
    return sorted(row["RegionName"] for row in rows)


def caller() -> str:
    """The ARN these credentials belong to; needs no permission (AWS: GetCallerIdentity). Raises aws-credentials."""
    with translated("sts:GetCallerIdentity"):
        arn: str = client("sts", region=None).get_caller_identity()["Arn"]
    return arn
