"""rowback: put back exactly the rows you lost on Amazon RDS PostgreSQL."""

__version__ = "0.2.0"
