"""Instance classes of the lab, and what RDS derives from their memory."""

from __future__ import annotations

MEMORY_GIB = {
    "db.t3.micro": 1,
    "db.t4g.micro": 1,
    "db.t4g.medium": 4,
    "db.m6g.large": 8,
    "db.r6g.large": 16,
    "db.r6g.4xlarge": 128,
}
MEMORY_PER_CONNECTION_B, MOST_CONNECTIONS = 9_531_392, 5_000


def most_connections(instance_class: str) -> int:
    """max_connections of RDS's default parameter group: LEAST(DBInstanceClassMemory / 9531392, 5000).

    The real ones are a little lower, because the operating system's share is not counted as the class's memory.
    """
    memory_b = MEMORY_GIB.get(instance_class, 1) * 2**30
    return min(memory_b // MEMORY_PER_CONNECTION_B, MOST_CONNECTIONS)
