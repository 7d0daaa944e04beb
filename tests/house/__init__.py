"""House rules that need more than a linter's configuration."""
