"""A runbook being run: the values of its parameters, its steps, its journal, and what a preview may do.

Read in this order: run_store, parameter_values, perform_book, execute_step; then preview_book, reconcile_step,
step_answers, value_overrides, run_moves, step_output.
"""
