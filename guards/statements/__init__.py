"""What a piece of SQL would do: read, write, destroy, or nobody can tell. Decided by PostgreSQL's own parser."""

from guards.statements.classify import classify
from guards.statements.danger import Classified, Danger, Finding, Reach

__all__ = ["Classified", "Danger", "Finding", "Reach", "classify"]
