"""Log lines to suspects: prefixes, records, sessions, sightings, their ranking, and the time to go back to.

Pure: text in, values out. A log may hold any text.

Read in this order: log_formats, log_line_prefix, log_record, session_state, session_tracking, statement_sighting,
rank_suspects, target_time.
"""
