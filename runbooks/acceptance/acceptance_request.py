"""What is asked of an acceptance run, what it may cost at most, and what refuses it before anything is created."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from recovery.aws.aws_profile import as_aws_profile
from recovery.aws.caller_identity import caller
from recovery.aws.instances import Instances
from recovery.aws.permissions import Place, as_json
from recovery.aws.price_list import price_of
from recovery.config import Profile
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.instance import COPY_PREFIX, InstanceFacts, Storage

ORIGINAL_CASE = "acceptance"
ORIGINAL = f"{COPY_PREFIX}{ORIGINAL_CASE}"  # always the same, so that its policy can be printed before it exists
PARAMETER_GROUP = ORIGINAL
MASTER = "rowback"
STORAGE_GIB, STORAGE_KIND = 20, "gp2"
INSTANCES_AT_MOST, HOURS_AT_MOST = 5, 12
DISPOSABLE = "rowback:disposable"  # a tag with the value true: this instance may be written to and restarted


@dataclass(frozen=True)
class Ground:
    """Where the instances are made. None and empty: RDS's defaults, which are the default VPC's."""

    instance_class: str = "db.t4g.micro"
    subnet_group: str | None = None
    security_groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class AcceptanceRequest:
    """One run.

    `instance`: a disposable one to be used, None to make one on `ground`. `policy_profile`: an AWS profile whose
    credentials have the printed policy and nothing else. `data_mib`: how much is written to measure first reads with.
    """

    profile: Profile
    ground: Ground
    instance: str | None
    policy_profile: str | None
    max_cost_usd: float
    data_mib: int


def account_of(profile: Profile) -> str:
    """The number of the account that would be used. Raises aws-credentials."""
    return caller(profile.region).split(":")[4]


def printed_policy(request: AcceptanceRequest) -> str:
    """The policy of a recovery of the run's instance, to be given to `policy_profile`'s role beforehand."""
    instances = Instances.connect(request.profile.region)
    partition, account = (caller(instances.region).split(":")[part] for part in (1, 4))
    place = Place(
        partition, instances.region, account, request.instance or ORIGINAL, subnet_group=request.ground.subnet_group
    )
    if request.instance:
        place = Place.of(instances.get(request.instance))
    group = PARAMETER_GROUP if not request.instance else instances.get(request.instance).parameter_group
    return as_json(place, request.profile.model_copy(update={"copy_parameter_group": group}))


@dataclass(frozen=True)
class RunCost:
    """What one instance costs an hour, where that is from, and what all of a run may cost."""

    hourly_usd: float
    source: str
    most_usd: float


def cost_within(request: AcceptanceRequest, named: InstanceFacts | None, region: str) -> RunCost:
    """The cost of instances like `named`, or like the one that would be made.

    Raises cost-ceiling where it may be more than was allowed, or is not known.
    """
    instance_class = named.instance_class if named else request.ground.instance_class
    gib, storage = (named.allocated_gib, named.storage) if named else (STORAGE_GIB, Storage(kind=STORAGE_KIND))
    what = f"{instance_class} with {gib:,} GiB of {storage.kind} in {region}"
    price = price_of(instance_class, region, storage)
    if price is None or price.storage_usd_per_gib_month is None:
        raise RowbackError(
            ErrorId.COST_CEILING,
            f"nobody says what {what} costs, so ${request.max_cost_usd:,.2f} cannot be promised",
            state=NOTHING_CREATED,
            help="allow pricing:GetProducts, or "
            + ("name a smaller --instance" if named else "choose another --class"),
        )
    hourly_usd = price.hourly(gib)
    most = hourly_usd * INSTANCES_AT_MOST * HOURS_AT_MOST
    if not most <= request.max_cost_usd:  # nor where that is no number
        raise RowbackError(
            ErrorId.COST_CEILING,
            f"{INSTANCES_AT_MOST} instances of {what} for {HOURS_AT_MOST} hours cost ${most:,.2f} at most, more than"
            f" ${request.max_cost_usd:,.2f}",
            f"according to {price.source}; a run is usually over in two hours",
            state=NOTHING_CREATED,
            help=f"--max-cost {ceil(most)}, or a smaller " + ("--instance" if named else "--class"),
        )
    return RunCost(hourly_usd, price.source, most)


def refuse_foreign_policy_profile(request: AcceptanceRequest) -> None:
    """Raise config-invalid unless the policy's profile is another principal of the same account than the run's."""
    if request.policy_profile is None:
        return
    ours = caller(request.profile.region)
    with as_aws_profile(request.policy_profile):
        theirs = caller(request.profile.region)
    if theirs.split(":")[4] == ours.split(":")[4] and theirs != ours:
        return
    what = "is what this run uses itself" if theirs == ours else "belongs to another account"
    raise RowbackError(
        ErrorId.CONFIG_INVALID,
        f"AWS profile '{request.policy_profile}' ({theirs}) {what}",
        state=NOTHING_CREATED,
        help="name the profile of a role that has the policy which --iam-policy prints, and nothing else; or leave"
        " --policy-profile out",
    )


def refuse_unconfirmed(request: AcceptanceRequest, confirmed: str | None, most_usd: float) -> None:
    """Raise confirmation-missing unless the account was named in which instances would be made."""
    account = account_of(request.profile)
    if confirmed == account:
        return
    original = f"uses '{request.instance}' and makes" if request.instance else f"makes '{ORIGINAL}' and"
    raise RowbackError(
        ErrorId.CONFIRMATION_MISSING,
        f"acceptance {original} up to four copies of it in account {account}, for ${most_usd:,.2f} at most, and "
        + ("nobody confirmed that" if confirmed is None else f"'{confirmed}' is not that account"),
        state=NOTHING_CREATED,
        help=f"add --confirm {account}",
    )


def refuse_indispensable(instance: InstanceFacts) -> None:
    """Raise instance-unsuitable for a named instance that is not declared to be disposable."""
    if instance.tags.get(DISPOSABLE) == "true":
        return
    raise RowbackError(
        ErrorId.INSTANCE_UNSUITABLE,
        f"'{instance.identifier}' is not declared to be disposable",
        "acceptance makes a database, a slot, a subscription and a prepared transaction in it",
        state=NOTHING_CREATED,
        help="leave --instance out, and one is made; or, where nothing in it matters: aws rds add-tags-to-resource"
        f" --resource-name {instance.arn} --tags Key={DISPOSABLE},Value=true",
    )
