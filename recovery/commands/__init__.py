"""One file for each verb of the command line.

Options to a request, the request to the room that does it, the result to the report. No decision, no journal, no SQL is
written here.
"""
