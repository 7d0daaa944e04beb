"""What differs between T and now, on disk.

Rows with their verdicts, batches of them, and how they are staged beside their tables and asked what stands in their
way. Below both compare, which fills it, and reload, which writes it; it decides nothing.

Read in this order: row_change, change_set, column_mapping, batches, row_outcomes; then stage_changes, preflight,
block_rows, move_targets, planned_account, missing_large_objects.
"""
