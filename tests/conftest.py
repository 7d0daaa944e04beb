"""Fixtures live in one file a topic; this is the list of topics."""

pytest_plugins = ["tests.fix_lab", "tests.fix_cli", "tests.fix_repair"]
