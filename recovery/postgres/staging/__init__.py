"""Rows on their way: staged beside their table, asked what stands in their way, written in sets, kept as before-images.

Read in this order: row_constraints, stage_query, stage, fill_stage, row_obstacles, row_locks, key_collisions,
stage_writes, write_before_images; then column_casts, not_valid_constraints, oversized_cells, large_objects,
stage_proofs.
"""
