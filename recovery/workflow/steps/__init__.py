"""The steps of a recovery. Each says, asked again, how far it came.

Read in this order: step, copy_steps, row_steps, diff_step, load_records, nothing_to_load,
unbuilt_indexes, swap_tables, settle_load, load_step, verify_step.
"""
