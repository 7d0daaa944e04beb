"""A table built anew under a hidden name and exchanged for the one of its name, with all that depends on it.

Only for tables of which everything that depends on them is known, can be carried over, and reads the same afterwards.

Read in this order: obstacles, table_definition, phase, statements, statement_sources, brief_locks,
remains, hidden_tables, rows_of_others, exchange.
"""
