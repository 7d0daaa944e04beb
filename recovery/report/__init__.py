"""Values to text, HTML, Markdown, CSV and pages. It reads cases and writes to streams; it decides nothing.

Read in this order: report_text, repair_text, find_text; then progress_listener, fanout_listener, status_server.
"""
