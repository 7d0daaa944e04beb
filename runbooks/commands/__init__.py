"""`rowback runbook`, `drill`, `drills` and `lab`: options to a request, the request to the room that does it."""
