"""A database of its own for each test instead of a shared one, by the fastest tier that suffices.

from guards.isolation import Migrations, open_databases

with open_databases(Migrations.from_files("schema.sql")) as databases:
    with databases.rolled_back() as connection: ...   # one shared database, everything is rolled back
    with databases.restored() as database: ...        # its dirty tables are put back afterwards; database.dsn
    with databases.clone() as database: ...           # a fresh copy, out of a pool that is filled ahead
"""

from guards.isolation.databases import Databases, open_databases
from guards.isolation.template_database import Migrations

__all__ = ["Databases", "Migrations", "open_databases"]
