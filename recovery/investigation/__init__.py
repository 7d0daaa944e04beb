"""Before a recovery: which statement did it, when, and what is in the way now.

It reads logs, statistics and AWS's events, and writes nothing but its own readings.

Read in this order: find_incident, log_sources, live_database, assess_outlook.
"""
