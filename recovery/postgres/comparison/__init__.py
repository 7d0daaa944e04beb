"""Two tables side by side, in their servers: scanned in buckets of keys, by transaction ids, by the user's condition;
what the copy answered is remembered.

Read in this order: scan, lineage, predicates, subtransactions, remembered.
"""
