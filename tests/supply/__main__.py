"""Audit the pinned dependencies, or write their bill of materials, by maintained tools in an environment of their own.

python -m tests.supply audit     exit 1 for a known vulnerability; says so where no advisory database answers
python -m tests.supply sbom      CycloneDX JSON of the installed environment in dist/
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TOOLS, PINS = ROOT / ".venv-audit", "constraints-audit.txt"
TIMEOUT_S = 300


def tools() -> Path:
    """The directory of the tools' programs; installed on first use, by hash."""
    programs = TOOLS / "bin"
    if not (programs / "pip-audit").exists():
        subprocess.run([sys.executable, "-m", "venv", TOOLS], check=True)
        subprocess.run(
            [
                programs / "python",
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--require-hashes",
                "-r",
                ROOT / PINS,
            ],
            check=True,
        )
    return programs


def audit() -> int:
    """Print what is known of the pinned versions; 1 where a vulnerability is."""
    done = subprocess.run(
        [
            tools() / "pip-audit",
            "-r",
            ROOT / "constraints.txt",
            "--disable-pip",
            "--require-hashes",
            "--format",
            "json",
            "--progress-spinner",
            "off",
        ],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    try:
        dependencies: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"not audited: no advisory database answers here ({(done.stderr.strip().splitlines() or ['?'])[-1]})")
        return 0
    asked = [each for each in dependencies if "skip_reason" not in each]
    bad = [(each, vulnerability) for each in asked for vulnerability in each["vulns"]]
    for each, vulnerability in bad:
        fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
        print(f"{each['name']} {each['version']}: {vulnerability['id']}, fixed in {fixed}")
    if not asked:
        print(f"not audited: the advisory database that answers here knows none of {len(dependencies)} packages")
        return 0
    print(f"{len(asked)} of {len(dependencies)} pinned packages audited, {len(bad)} known vulnerabilities")
    return 1 if bad else 0


def sbom() -> int:
    """Write dist/rowback.cdx.json."""
    out = ROOT / "dist" / "rowback.cdx.json"
    out.parent.mkdir(exist_ok=True)
    subprocess.run(
        [tools() / "cyclonedx-py", "environment", sys.prefix, "--of", "JSON", "--output-reproducible", "-o", out],
        check=True,
        timeout=TIMEOUT_S,
    )
    components = json.loads(out.read_text())["components"]
    print(f"{out.relative_to(ROOT)}: {len(components)} components")
    return 0


if __name__ == "__main__":
    sys.exit({"audit": audit, "sbom": sbom}[sys.argv[1]]())
