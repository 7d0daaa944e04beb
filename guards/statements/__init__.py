"""What a piece of SQL would do: read, write, destroy, or unknown. Decided by PostgreSQL's own parser.

Read in this order: danger, classify_sql, statement_rules, functions, beyond_database; then conditions, constant_text,
placeholders, plpgsql, command_tags, parse_tree.
"""

from guards.statements.classify_sql import classify
from guards.statements.danger import Classified, Danger, Finding, Reach

__all__ = ["Classified", "Danger", "Finding", "Reach", "classify"]
