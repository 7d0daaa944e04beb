"""RDS operations on parameter groups, subnet groups, versions, classes and quotas."""

from __future__ import annotations

from runbooks.lab.classes import MEMORY_GIB
from runbooks.lab.lab_state import Parameters, SubnetGroup
from runbooks.lab.query_protocol import Refusal, Request, Result
from runbooks.lab.views import LabAccount, page, show_subnet_group

# name: (apply type, default, description); the ones a recovery cares about.
PARAMETERS = {
    "rds.force_ssl": ("dynamic", "1", "Force SSL connections."),
    "rds.logical_replication": ("static", "0", "Enables logical decoding."),
    "rds.log_retention_period": ("dynamic", "4320", "Minutes that log files are kept."),
    "log_statement": ("dynamic", "none", "Sets the type of statements logged."),
    "log_min_duration_statement": ("dynamic", "-1", "(ms) Minimum execution time to be logged."),
    "log_line_prefix": ("dynamic", "%t:%r:%u@%d:[%p]:", "Controls information prefixed to each log line."),
    "track_commit_timestamp": ("static", "off", "Collects transaction commit time."),
    "session_replication_role": ("dynamic", "origin", "Behaviour of triggers and rules."),
    "max_prepared_transactions": ("static", "0", "Maximum number of simultaneously prepared transactions."),
    "max_logical_replication_workers": ("static", None, "Maximum number of logical replication worker processes."),
    "max_locks_per_transaction": ("static", "64", "Maximum number of locks per transaction."),
    "shared_preload_libraries": ("static", "", "Libraries to preload into the server."),
    "statement_timeout": ("dynamic", "0", "(ms) Maximum allowed duration of any statement."),
    "lock_timeout": ("dynamic", "0", "(ms) Maximum time to wait for a lock."),
}


class CatalogueOperations:
    """What an account can choose from."""

    def __init__(self, account: LabAccount) -> None:
        self.account, self.engine = account, account.engine

    def DescribeDBParameterGroups(self, request: Request) -> Result:
        """All groups, or one by name."""
        rows = list(self.engine.parameters.values())
        if name := request.get("DBParameterGroupName"):
            rows = [self._parameters(name)]
        return page("DBParameterGroups", [self._show(row) for row in rows], request)

    def CreateDBParameterGroup(self, request: Request) -> Result:
        """A group with no values of its own yet. Raises Refusal as RDS does."""
        name, family = request["DBParameterGroupName"].lower(), request["DBParameterGroupFamily"]
        if name in self.engine.parameters:
            raise Refusal("DBParameterGroupAlreadyExists", f"Parameter group {name} already exists")
        if family != self.engine.default_parameters.family:
            raise Refusal(
                "InvalidParameterValue",
                f"ParameterGroupFamily {family} is not a valid parameter group family",
            )
        group = self.engine.parameters[name] = Parameters(name, family, request["Description"])
        return {"DBParameterGroup": self._show(group)}

    def ModifyDBParameterGroup(self, request: Request) -> Result:
        """Set values. Raises Refusal as RDS does.

        Dynamic ones take effect in running instances at once, static ones at the next reboot.
        """
        group = self._parameters(request["DBParameterGroupName"])
        if group.name.startswith("default."):
            raise Refusal("InvalidDBParameterGroupState", "The default parameter group cannot be modified.")
        static = False
        for change in request["Parameters"]:
            name = change["ParameterName"]
            if name not in PARAMETERS:
                raise Refusal("InvalidParameterValue", f"Could not find parameter with name: {name}")
            group.values[name] = change["ParameterValue"]
            static |= PARAMETERS[name][0] == "static"
        self.engine.apply_parameters(group, static=static)
        return {"DBParameterGroupName": group.name}

    def DeleteDBParameterGroup(self, request: Request) -> Result:
        """Raises Refusal as RDS does: for the default group, and while an instance has it."""
        group = self._parameters(request["DBParameterGroupName"])
        if group.name.startswith("default.") or any(
            instance.parameters is group for instance in self.engine.instances.values()
        ):
            raise Refusal("InvalidDBParameterGroupState", f"The parameter group {group.name} is in use.")
        del self.engine.parameters[group.name]
        return {}

    def DescribeDBParameters(self, request: Request) -> Result:
        """Values of one group with where each comes from."""
        group = self._parameters(request["DBParameterGroupName"])
        rows = [
            {
                "ParameterName": name,
                **({"ParameterValue": value} if (value := group.values.get(name, default)) is not None else {}),
                "Source": "user" if name in group.values else "engine-default",
                "ApplyType": apply_type,
                "Description": description,
                "IsModifiable": True,
            }
            for name, (apply_type, default, description) in PARAMETERS.items()
            if request.get("Source") in (None, "user" if name in group.values else "engine-default")
        ]
        return page("Parameters", rows, request)

    def CreateDBSubnetGroup(self, request: Request) -> Result:
        """A name for a set of subnets. Raises Refusal when it is taken."""
        name = request["DBSubnetGroupName"].lower()
        if name in self.engine.subnet_groups:
            raise Refusal("DBSubnetGroupAlreadyExists", f"The DB subnet group '{name}' already exists.")
        group = SubnetGroup(name, request["DBSubnetGroupDescription"], "vpc-lab", tuple(request["SubnetIds"]))
        self.engine.subnet_groups[name] = group
        return {"DBSubnetGroup": show_subnet_group(self.account, group)}

    def DescribeDBSubnetGroups(self, request: Request) -> Result:
        """All groups, or one by name."""
        rows = list(self.engine.subnet_groups.values())
        if name := request.get("DBSubnetGroupName"):
            rows = [self.account.subnet_group(name)]
        return page("DBSubnetGroups", [show_subnet_group(self.account, row) for row in rows], request)

    def DescribeDBEngineVersions(self, request: Request) -> Result:
        """The one version that this lab runs."""
        tools = self.engine.tools
        row = {
            "Engine": "postgres",
            "EngineVersion": tools.version,
            "MajorEngineVersion": str(tools.major),
            "DBParameterGroupFamily": f"postgres{tools.major}",
            "DBEngineDescription": "PostgreSQL",
            "Status": "available",
        }
        version = request.get("EngineVersion", tools.version)
        offered = request.get("Engine", "postgres") == "postgres" and tools.version.startswith(version)
        return page("DBEngineVersions", [row] if offered else [], request)

    def DescribeOrderableDBInstanceOptions(self, request: Request) -> Result:
        """Instance classes that can be created."""
        rows = [
            {
                "Engine": "postgres",
                "EngineVersion": self.engine.tools.version,
                "DBInstanceClass": name,
                "LicenseModel": "postgresql-license",
                "StorageType": storage,
                "Vpc": True,
                "AvailabilityZones": [{"Name": f"{self.account.region}a"}],
            }
            for name in MEMORY_GIB
            for storage in ("gp2", "gp3")
            if request.get("DBInstanceClass", name) == name
        ]
        return page("OrderableDBInstanceOptions", rows if request["Engine"] == "postgres" else [], request)

    def DescribeAccountAttributes(self, request: Request) -> Result:
        """Quotas: how many instances, how much storage."""
        instances = self.engine.instances.values()
        used_gib = sum(int(str(i.attributes["AllocatedStorage"])) for i in instances)
        quotas = (
            ("DBInstances", len(self.engine.instances), self.account.instance_quota),
            ("AllocatedStorage", used_gib, 100_000),
            ("ManualSnapshots", len(self.engine.snapshots), 100),
        )
        shown = self.engine.faults.quotas_told
        return {
            "AccountQuotas": [
                {"AccountQuotaName": n, "Used": used, "Max": most}
                for n, used, most in quotas
                if shown is None or n in shown
            ]
        }

    def _parameters(self, name: str) -> Parameters:
        if group := self.engine.parameters.get(name.lower()):
            return group
        raise Refusal("DBParameterGroupNotFound", f"DBParameterGroup not found: {name}", 404)

    def _show(self, group: Parameters) -> Result:
        return {
            "DBParameterGroupName": group.name,
            "DBParameterGroupFamily": group.family,
            "Description": group.description,
            "DBParameterGroupArn": self.account.arn("pg", group.name),
        }
