"""What differs between T and now, on disk: rows with their verdicts, batches of them, and how they are staged beside
their tables and asked what stands in their way. Below both compare, which fills it, and reload, which writes it; it
decides nothing.

Read in this order: change, changes, column_mapping, batches; then staging, foreseeing, blocking, accounting,
objects.
"""
