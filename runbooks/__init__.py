"""Executable runbooks, drills, and the lab they run on."""
