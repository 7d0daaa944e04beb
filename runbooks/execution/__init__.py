"""A runbook being run: the values of its parameters, its steps, its journal, and what a preview may do.

Read in this order: run_store, parameter_values, perform_book; then preview_book, step_answers, value_overrides,
run_moves, step_output.
"""
