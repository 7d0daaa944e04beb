"""T beside now: which rows differ, who changed them, what is to be done with each.

It reads both servers and writes a change set on disk; nothing reaches the original.

Read in this order: scope, inquiry, map_tables, make_repair_plan, table_diff, candidate_rows, rows_without_key,
classify_row, row_verdicts, plan_summary; then attribution, moved_rows, foreign_key_traversal, out_of_scope_rows,
full_tables, post_commit_diff.
"""
