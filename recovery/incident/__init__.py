"""Log lines to suspects: prefixes, records, sessions, sightings, their ranking, and the time to go back to. Pure: text
in, values out. A log may hold any text.

Read in this order: prefix, records, state, sessions, sightings, suspects, target_time.
"""
