"""Writing: one transaction on the original that locks, writes what the change set says, proves it and commits, or many
small ones. Nothing here compares, and nothing is looked up under the locks that could be known before them.

Read in this order: job, load, row_writes, verify; then pacing, undo, undo_images, objects, refusals.
"""
