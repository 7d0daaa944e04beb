"""The `aws` that books call, where none is installed: the same call by boto3, as far as the books go."""

from __future__ import annotations

import json
import sys

import boto3


def main(words: list[str]) -> None:
    client = boto3.client(words[0])
    answer = getattr(client, words[1].replace("-", "_"))(**_given(words[2:]))
    answer.pop("ResponseMetadata", None)
    sys.stdout.write(json.dumps(answer, default=str, indent=1) + "\n")


def _given(words: list[str]) -> dict[str, object]:
    found: dict[str, object] = {}
    index = 0
    while index < len(words):
        name = words[index].removeprefix("--")
        if name.startswith("no-"):
            found[_member(name.removeprefix("no-"))] = False
            index += 1
        else:
            found[_member(name)] = [words[index + 1]] if name.endswith("-ids") else words[index + 1]
            index += 2
    return found


def _member(name: str) -> str:
    return "".join("DB" if part == "db" else part.capitalize() for part in name.split("-"))


if __name__ == "__main__":
    main(sys.argv[1:])
