"""pg_dump's archives of definitions: what stands in one, and its statements for a part of it.

Read in this order: table_of_contents, schema_archive.
"""
