"""The parameter group of the instance that an acceptance run makes: made before it, removed after it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from botocore.exceptions import ClientError

from recovery.aws.clients import code_of, translated
from recovery.aws.instances import Instances
from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.instance import COPY_PREFIX
from recovery.store.rehearsal_journal import RehearsalJournal
from recovery.workflow.recovery_run import Listener
from runbooks.acceptance.acceptance_request import ORIGINAL, PARAMETER_GROUP

PURPOSE = "made by rowback acceptance, and removed by it"
# Room for a prepared transaction, logical slots, and no worker that would take from a publisher.
PARAMETERS = {
    "rds.logical_replication": "1",
    "max_prepared_transactions": "10",
    "max_logical_replication_workers": "0",
}


@contextlib.contextmanager
def own_parameter_group(instances: Instances, journal: RehearsalJournal, listener: Listener) -> Iterator[None]:
    """A group with room for all that is tried, removed in the end.

    Raises aws-refused where there is one of its name: it is another team's, or another machine's run is under way.
    """
    rds, name = instances.rds, PARAMETER_GROUP
    with translated("rds:DescribeDBEngineVersions"):
        default = rds.describe_db_engine_versions(Engine="postgres", DefaultOnly=True)["DBEngineVersions"][0]
    _refuse_taken(instances)
    journal.group_requested(name)
    finished = False
    try:
        with translated(f"rds:CreateDBParameterGroup '{name}'"):
            rds.create_db_parameter_group(
                DBParameterGroupName=name, DBParameterGroupFamily=default["DBParameterGroupFamily"], Description=PURPOSE
            )
        with translated(f"rds:ModifyDBParameterGroup '{name}'"):
            rds.modify_db_parameter_group(DBParameterGroupName=name, Parameters=list(_parameters()))
        yield
        finished = True
    finally:
        try:
            remove_parameter_group(instances, name)
            journal.group_gone(name)
        except RowbackError as error:
            if finished:
                raise
            listener.notice(f"{error.fact}; it costs nothing, and rowback reap removes it")  # what came before counts


def _parameters() -> Iterator[dict[str, str]]:
    for parameter, value in PARAMETERS.items():
        yield {"ParameterName": parameter, "ParameterValue": value, "ApplyMethod": "pending-reboot"}


def _refuse_taken(instances: Instances) -> None:
    """Raise case-open where there is an instance or a group of the names that are needed."""
    taken = [f"instance '{ORIGINAL}'"] if instances.find(ORIGINAL) else []
    with translated(f"rds:DescribeDBParameterGroups '{PARAMETER_GROUP}'"):
        try:
            instances.rds.describe_db_parameter_groups(DBParameterGroupName=PARAMETER_GROUP)
            taken.append(f"parameter group '{PARAMETER_GROUP}'")
        except ClientError as error:
            if code_of(error) != "DBParameterGroupNotFound":
                raise
    if taken:
        raise RowbackError(
            ErrorId.CASE_OPEN,
            f"there is {' and '.join(taken)} in {instances.region} already, which no run of this machine left",
            "another machine may be running acceptance in this account and region",
            state=NOTHING_CREATED,
            help="when none is: rowback reap on the machine that began it, or aws rds delete-db-instance"
            f" --skip-final-snapshot --db-instance-identifier {ORIGINAL}, and aws rds delete-db-parameter-group"
            f" --db-parameter-group-name {PARAMETER_GROUP}",
        )


def remove_parameter_group(instances: Instances, name: str) -> None:
    """Delete one that a run made; one that is not there is gone. Raises ValueError for a name without our prefix."""
    if not name.startswith(COPY_PREFIX):
        raise ValueError(f"{name} was made by no run")
    with translated(f"rds:DeleteDBParameterGroup '{name}'", state=f"parameter group '{name}' is left"):
        try:
            instances.rds.delete_db_parameter_group(DBParameterGroupName=name)
        except ClientError as error:
            if code_of(error) != "DBParameterGroupNotFound":
                raise
