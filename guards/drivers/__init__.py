"""Where the guard stands between a driver and the server: one module for each driver, and one for unittest's end.

What is not imported costs nothing: its guard is loaded when it is imported.

Read in this order: guarded_drivers, driver_hooks, psycopg3, psycopg2_, asyncpg_; then surrounding_queries,
guard_connection, open_connection.
"""
