"""Random worlds of instances, tags and journals for the delete guard, as a pure function.

    python -m tests.properties.deletions --worlds 1000000 --seed 1

The oracle knows which create call made each instance; the guard sees only what RDS shows and what the journal recorded.
It must never allow to delete what no call of the case made, and must allow what one made and nobody altered.

One thing is left out, because nothing could tell it: somebody who reads our nonce and puts it, with all other tags,
on an instance of our very name, made after our call was journalled and while its answer is lost (docs/security.md).
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from recovery.model.deletion import Copy, CreationRequest, objections_to_delete
from recovery.model.instance import (
    TAG_CASE,
    TAG_DATABASE,
    TAG_EXPIRES,
    TAG_MANAGED,
    TAG_NONCE,
    TAG_SOURCE,
    TAG_TARGET,
    InstanceFacts,
)
from recovery.model.target import format_utc

EPOCH = datetime(2026, 11, 1, tzinfo=UTC)
TAGS = (TAG_MANAGED, TAG_CASE, TAG_SOURCE, TAG_NONCE, TAG_TARGET, TAG_EXPIRES, TAG_DATABASE)
SOURCE = "db-SOURCE"


@dataclass(frozen=True)
class Instance:
    """What RDS shows, and the truth: the case whose call made it, or None; whether somebody changed it since."""

    facts: InstanceFacts
    made_by: str | None
    altered: bool = False


def worlds(seed: int, count: int) -> Iterator[tuple[Copy, Instance]]:
    """Pairs of what a case recorded of its copy and an instance that the guard is asked about."""
    chance = random.Random(seed)  # noqa: S311 (replayable, no secret)
    for number in range(count):
        case = f"2026{number % 9999:04}-{chance.randrange(10**6):06}-{chance.randrange(16**4):04x}"
        asked = EPOCH + timedelta(seconds=chance.randrange(10**6))
        call = CreationRequest(
            nonce=f"{chance.getrandbits(128):032x}",
            requested_at=asked,
            target_time=(asked - timedelta(seconds=chance.randrange(1, 10**5))).replace(microsecond=0),
        )
        copy = Copy(case=case, source_resource_id=SOURCE, creation=call)
        ours = _ours(chance, copy)
        match chance.choice(["answered", "answered", "lost", "lost", "no call", "no intent"]):
            case "answered":
                copy = copy.model_copy(update={"resource_id": ours.facts.resource_id})
            case "no intent":
                copy, ours = copy.model_copy(update={"creation": None}), _foreign(chance, copy, ours)
            case "no call":
                ours = _foreign(chance, copy, ours)
            case _:
                pass
        yield copy, chance.choice([ours, ours, _foreign(chance, copy, ours), _changed(chance, ours)])


def _ours(chance: random.Random, copy: Copy) -> Instance:
    assert copy.creation is not None
    tags = {
        TAG_MANAGED: "true",
        TAG_CASE: copy.case,
        TAG_SOURCE: copy.source_resource_id,
        TAG_NONCE: copy.creation.nonce,
        TAG_TARGET: format_utc(copy.creation.target_time),
        TAG_EXPIRES: "2026-12-01T00:00:00Z",
    }
    skew = timedelta(seconds=chance.randrange(-299, 7200))  # signed calls are refused beyond five minutes
    created = chance.choice([None, copy.creation.requested_at + skew])
    return Instance(_facts(copy.identifier, f"db-{chance.getrandbits(64):016X}", tags, created), copy.case)


def _foreign(chance: random.Random, copy: Copy, ours: Instance) -> Instance:
    """Made by others: under another or our own name, with tags copied from our copy as clones have them."""
    name = chance.choice([copy.identifier, copy.identifier, f"rowback-{copy.case[:-1]}z", "rowback-zzz", "orders-prod"])
    copied = {tag: ours.facts.tags.get(tag, "") for tag in TAGS if chance.random() < 0.8}
    created = chance.choice([None, EPOCH, EPOCH + timedelta(days=30)])
    if name == copy.identifier and copy.resource_id is None:
        copied[TAG_NONCE] = chance.choice(["", f"{chance.getrandbits(128):032x}"])
    identity = chance.choice([f"db-{chance.getrandbits(64):016X}", SOURCE])
    return Instance(_facts(name, identity, copied, created), None)


def _changed(chance: random.Random, ours: Instance) -> Instance:
    """Somebody changed a tag of the instance, or renamed it."""
    tag = chance.choice([*TAGS, "name"])
    if tag == "name":
        return Instance(ours.facts.model_copy(update={"identifier": "rowback-renamed"}), ours.made_by, altered=True)
    tags = {**ours.facts.tags, tag: chance.choice(["", "other", "TRUE"])}
    return Instance(ours.facts.model_copy(update={"tags": tags}), ours.made_by, altered=True)


def _facts(name: str, resource_id: str, tags: dict[str, str], created: datetime | None) -> InstanceFacts:
    return InstanceFacts.model_construct(identifier=name, resource_id=resource_id, tags=tags, created_at=created)


def judged(copy: Copy, instance: Instance) -> str:
    """What the guard decided, or `WRONG: …` where that is against the truth."""
    allowed = not objections_to_delete(instance.facts, copy)
    ours = instance.made_by == copy.case and instance.facts.resource_id != SOURCE
    if allowed and not ours:
        return "WRONG: somebody else's instance would be deleted"
    if not allowed and ours and not instance.altered:
        return "WRONG: the case's own copy would be kept"
    return f"{'deleted' if allowed else 'kept'}, {'ours' if ours else 'not ours'}{', altered' * instance.altered}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--worlds", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    began = time.monotonic()
    counts = Counter(judged(copy, instance) for copy, instance in worlds(asked.seed, asked.worlds))
    for verdict, count in sorted(counts.items()):
        print(f"{count:>9,}  {verdict}")
    print(f"{asked.worlds:>9,}  worlds of seed {asked.seed} in {time.monotonic() - began:.0f} s")
    sys.exit(any(verdict.startswith("WRONG") for verdict in counts))


if __name__ == "__main__":
    main()
