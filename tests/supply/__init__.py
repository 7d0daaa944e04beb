"""What rowback is installed with: known vulnerabilities, and a bill of materials."""
