"""Rows on their way: staged beside their table, asked what stands in their way, written in sets, kept as before-images.

Read in this order: rules, stage, obstacles, collisions, writes, images; then casts, lifting, oversized, large_objects,
proofs.
"""
