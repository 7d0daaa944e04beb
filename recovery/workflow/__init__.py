"""A recovery from approval to proof: steps that are journalled before and after, continued after any interruption,
given up, undone, reaped. What is decided here is the order; how rows are compared and written is below.

Read in this order: recovery_run, steps/base, run; then steps/copy, rows, diff, load, verify; undo, settling;
approvals, accounting, reporting, story; reap, cleaning, bisect.
"""
