"""Before a recovery: which statement did it, when, and what is in the way now. It reads logs, statistics and AWS's
events, and writes nothing but its own readings.

Read in this order: find, log_sources, live_database, outlook.
"""
