"""A runbook as an act: its values, its steps, its journal."""
