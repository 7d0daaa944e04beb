"""Rehearsals: on a lab, by a runbook, or on the restored copy of a real instance.

Read in this order: run_drill, datasets, drill_measures, bystander_service; then book_drill, rehearsal, rehearsal_copy,
drill_evidence.
"""
