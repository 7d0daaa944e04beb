"""Writing: one transaction on the original that locks, writes, proves and commits, or many small ones.

Nothing here compares, and nothing is looked up under the locks that could be known before them.

Read in this order: load_job, prepare_load, foreign_keys_by_sets, skip_rows, load_transaction, load_in_place,
row_writes, verify_after_commit; then wal_pace, build_hidden, load_by_swap; then paced_load, reverse_load,
reverse_by_images, restore_large_objects, load_refusals; recreate_transaction, drop_recreated.
"""
