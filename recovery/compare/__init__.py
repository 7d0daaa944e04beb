"""T beside now: which rows differ, who changed them, what is to be done with each. It reads both servers and writes a
change set on disk; nothing reaches the original.

Read in this order: scope, mapping, change, changes, comparing, candidate_rows, classify, verdicts, summary.
"""
