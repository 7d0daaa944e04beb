"""The corpus of statements with the danger of each."""

from __future__ import annotations

from pathlib import Path


def corpus() -> list[tuple[str, str]]:
    found = []
    for line in (Path(__file__).parent / "corpus.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            danger, _, text = line.partition(" |")
            found.append((danger, text.strip().replace("\\n", "\n").replace("\\t", "\t")))
    return found


CORPUS = corpus()
