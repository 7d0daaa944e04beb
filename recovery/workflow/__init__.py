"""A recovery from approval to proof.

Steps that are journalled before and after, continued after any interruption, given up, undone, reaped. What is decided
here is the order; how rows are compared and written is below.

Read in this order: recovery_run, steps/step, case_lifecycle; then steps/copy_steps, steps/row_steps, steps/diff_step,
steps/load_records, steps/nothing_to_load, steps/load_step, steps/verify_step, steps/recreate_objects,
steps/recreated_proof; undo_case, undo_recreated, settle_undo; approvals, case_requests, case_account, case_report,
case_incident_report; reap_copies, database_leftovers, bisection.
"""
