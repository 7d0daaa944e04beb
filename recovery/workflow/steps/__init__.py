"""The steps of a recovery in their order: copy, rows, diff, load, verify. Each says, asked again, how far it came."""
