"""Refuse destruction of anything that is not proven disposable. Imports nothing of ours, no boto3."""
