"""Make a plain PostgreSQL cluster look like RDS from inside: rdsadmin, rds_superuser, a master that is no superuser.

What the real grants are: sources: RDS-roles (read off dumps of RDS PostgreSQL 15 and 17).
Known differences: event triggers are denied to the master, has_parameter_privilege() answers true.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from runbooks.lab.lab_cluster import Cluster

PREDEFINED = {
    13: ("pg_monitor", "pg_signal_backend"),
    14: ("pg_read_all_data", "pg_write_all_data"),
    15: ("pg_checkpoint",),
    16: ("pg_create_subscription", "pg_use_reserved_connections"),
    17: ("pg_maintain",),
}
RDS_ROLES = ("rds_superuser", "rds_replication", "rds_password", "rds_iam", "rdsrepladmin", "rds_reserved")


def furnish(cluster: Cluster, *, master: str, password: str, database: str) -> None:
    """Create RDS's roles, the master user and the first database in a fresh cluster."""
    major = cluster.tools.major
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        for role in RDS_ROLES:
            connection.execute(sql.SQL("create role {} nologin").format(sql.Identifier(role)))
        granted = [role for since, roles in PREDEFINED.items() if since <= major for role in roles]
        connection.execute(
            sql.SQL("grant {} to rds_superuser with admin option").format(
                sql.SQL(", ").join(map(sql.Identifier, [*granted, "rds_password", "rds_replication"]))
            )
        )
        if major >= 15:
            connection.execute("grant set on parameter session_replication_role to rds_superuser")
        connection.execute(
            sql.SQL("create role {} login createdb createrole password {}").format(
                sql.Identifier(master), sql.Literal(password)
            )
        )
        connection.execute(sql.SQL("grant rds_superuser to {} with admin option").format(sql.Identifier(master)))
        connection.execute("create database rdsadmin")
        connection.execute("revoke connect on database rdsadmin from public")
        owner = sql.Identifier(master)
        connection.execute(sql.SQL("alter database postgres owner to {}").format(owner))
        connection.execute(sql.SQL("alter database template1 owner to {}").format(owner))
        if database != "postgres":
            connection.execute(sql.SQL("create database {} owner {}").format(sql.Identifier(database), owner))
    # Since 15 nobody may create in schema public by default; on RDS the owner of the database may (pg_database_owner).


def set_master_password(cluster: Cluster, *, master: str, password: str) -> None:
    """What ModifyDBInstance(MasterUserPassword) does inside the instance."""
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        connection.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(master), sql.Literal(password)))
