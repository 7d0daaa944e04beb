"""Values to text, HTML, Markdown, CSV and pages. It reads cases and writes to streams; it decides nothing."""
