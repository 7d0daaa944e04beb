"""Two tables side by side, in their servers: scanned in buckets of keys, by transaction ids, by the user's condition.

What the copy answered is remembered.

Read in this order: table_scan, key_buckets, row_lineage, predicates, subtransactions, scan_cache.
"""
