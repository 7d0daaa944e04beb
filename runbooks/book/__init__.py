"""A runbook as a text: read, checked, written anew. Nothing here does anything.

Read in this order: document, parse_book, fences; then lint, book_template.
"""
