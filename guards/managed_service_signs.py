"""What only a managed service has: roles, databases, settings, functions, schemas. Reads nothing, decides nothing."""

from __future__ import annotations

from collections.abc import Iterable

# Roles, databases, settings, functions and schemas that only a managed service has (sources: RDS-telltales).
ROLES = {
    "rdsadmin": "Amazon RDS",
    "rds_superuser": "Amazon RDS",
    "rdstopmgr": "Amazon Aurora",
    "cloudsqlsuperuser": "Cloud SQL",
    "cloudsqladmin": "Cloud SQL",
    "alloydbsuperuser": "AlloyDB",
    "alloydbadmin": "AlloyDB",
    "azure_pg_admin": "Azure Database",
    "azuresu": "Azure Database",
    "neon_superuser": "Neon",
    "cloud_admin": "Neon",
    "databricks_superuser": "Neon",
    "supabase_admin": "Supabase",
    "doadmin": "DigitalOcean",
    "_dodb": "DigitalOcean",
    "avnadmin": "Aiven",
    "tsdbadmin": "Timescale",
    "tsdbowner": "Timescale",
    "crunchy_superuser": "Crunchy Bridge",
    "crunchy_replication": "Crunchy Bridge",
    "pscale_admin": "PlanetScale",
    "ibm_superuser": "IBM Cloud",
    "ibm_admin": "IBM Cloud",
}
DATABASES = {
    "rdsadmin": "Amazon RDS",
    "cloudsqladmin": "Cloud SQL",
    "alloydbadmin": "AlloyDB",
    "azure_maintenance": "Azure Database",
    "azure_sys": "Azure Database",
    "_aiven": "Aiven",
}
SETTINGS = {
    "rds.extensions": "Amazon RDS",
    "rds.superuser_variables": "Amazon RDS",
    "cloudsql.iam_authentication": "Cloud SQL",
    "cloudsql.supported_extensions": "Cloud SQL",
    "supautils.reserved_roles": "Supabase",
    "alloydb.iam_authentication": "AlloyDB",
    "azure.extensions": "Azure Database",
    "neon.tenant_id": "Neon",
}
FUNCTIONS = {"aurora_version": "Amazon Aurora"}
SCHEMAS = {"heroku_ext": "Heroku"}


def array(names: Iterable[str]) -> str:
    """Constant names as an array literal, so that the query needs no driver's parameters."""
    return "array[" + ", ".join(f"'{name}'" for name in names) + "]::text[]"
