"""What `rowback runbook new` writes: small, complete, and without a problem for lint."""

TEMPLATE = """---
title: Rows are gone
purpose: Put back deleted rows, and prove it.
when: Rows of a table are reported gone.
parameters:
  instance: {type: instance, help: the RDS instance, example: docs-staging}
  database: {type: database, help: the database that lost something, example: docs}
objectives: {recovery_time: 60m, data_loss: 5m}
---
# Rows are gone

## What happened

The log knows which statement it was, whether it was committed, and which time lies just before it.

```rowback id=find timeout=10m save=target=proposal.target_time
rowback find $INSTANCE --database $DATABASE --since 2h --json
```

- [ ] The first statement is the one that was reported.

## Put them back

A temporary copy of the instance as of the target time is made; the lost rows come out of it, into the original, in one
transaction. Nothing that was written since is overwritten.

```approve id=go
Another person has read the plan and agrees.
```

```rowback id=restore timeout=4h undo="none: rowback undo CASE takes the rows out again"
rowback restore $INSTANCE --at $TARGET --database $DATABASE --confirm $DATABASE --wait-for-window 10m
```
"""
