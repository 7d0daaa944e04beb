"""Could it be recovered now?

One check for each thing that has stopped a recovery somewhere, with its fix in the user's own names; and what of an
account is covered. Reads only, and goes on where one check cannot be made.

Read in this order: context, checks; then aws_checks, host_checks, database_checks, policy_scope, survey_coverage.
"""
