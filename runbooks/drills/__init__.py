"""Rehearsals: on a lab, by a runbook, or on the restored copy of a real instance."""
