"""Rows one by one, in the servers: scanned and bucketed, staged beside their table, asked what stands in their way,
written, kept as before-images. Sets throughout, never row by row from here.

Read in this order: rules, scan, lineage, stage, obstacles, collisions, writes, images.
"""
