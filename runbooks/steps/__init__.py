"""Kinds of steps, one file each: grammar, variables, what a preview shows, doing it, and whether it happened.

The port is in book_step; step_kinds names the kinds that books may use. Nothing else asks for a kind where what it is
to do is a question of the kind.

Read in this order: book_step, step_effects, rowback_command, sql_statement, shell_script, person_steps, step_kinds;
then surroundings, child_program, saved_values, problems.
"""
