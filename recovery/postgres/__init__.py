"""Everything that is said to PostgreSQL.

Sessions, catalogs, fingerprints, row transports, dumps, the watch over a writing session. The only room of recovery
that imports psycopg. It knows no cases and no plans of work.

Read in this order: connection_target, connect, server_errors, read_catalog, copy_rows, dump, load_statements,
lock_watchdog.
"""
