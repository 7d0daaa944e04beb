"""Two tables side by side, in their servers: scanned in buckets of keys, by transaction ids, by the user's condition;
what the copy answered is remembered.

Read in this order: table_scan, row_lineage, predicates, subtransactions, scan_cache.
"""
