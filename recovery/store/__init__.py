"""What a recovery leaves on disk: the journal of a case, signed; cases folded out of journals; readings of counters.

The history of drills. It reads and writes files of this user alone, knows no server and decides nothing.

Read in this order: journal_signature, journal, journal_directories, case_directory; then change_set_files,
counter_readings, drill_history.
"""
