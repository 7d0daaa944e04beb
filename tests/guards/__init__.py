"""The guards: what they classify, refuse and let through."""
