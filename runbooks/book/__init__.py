"""A runbook as a text: read, checked, written anew. Nothing here does anything."""
