"""The delete guard over random worlds: a pure function, and on the lab, where reap deletes or keeps real instances."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter

import pytest

from recovery.aws.instances import Instances
from recovery.model.deletion import Copy
from recovery.store.journal import Journal
from recovery.workflow.reap_copies import reap
from runbooks.lab.background import pass_a_second
from tests.fix_cli import Cli, restoring
from tests.fix_lab import Database, rds_client
from tests.properties.deletions import Instance, judged, worlds

FEW, ON_LAB = 20_000, int(os.environ.get("ROWBACK_GUARD_WORLDS", "200"))
SEED = 20261129


def test_nothing_foreign_is_deleted_and_nothing_of_ours_is_kept() -> None:
    """A million of them: python -m tests.properties.deletions (docs/reliability.md)."""
    counts = Counter(judged(copy, instance) for copy, instance in worlds(SEED, FEW))
    assert not [verdict for verdict in counts if verdict.startswith("WRONG")], counts
    assert min(counts["deleted, ours"], counts["kept, not ours"]) > FEW // 20


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_the_same_with_real_instances(cli: Cli, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each world is an instance of the lab and a signed journal; reap decides, and RDS shows what became of it."""
    database.run("create table t (n int)")
    opened = cli("open", *restoring(cli, database, pass_a_second())[1:-2])
    first = json.loads((cli.home / "cases" / opened.out.strip() / "journal.jsonl").read_text().splitlines()[0])
    assert cli("close", opened.out.strip()).code == 0
    for name, value in cli.environment.items():
        monkeypatch.setenv(name, value)
    engine, instances = cli.live.lab.engine, Instances.connect(None)
    counts: Counter[str] = Counter()
    for copy, instance in worlds(SEED, ON_LAB):
        if instance.facts.identifier == "orders-prod" or instance.facts.resource_id == copy.source_resource_id:
            counts["not asked: no prefix, or the source"] += 1
            continue
        home = journalled(cli, copy, first["data"])
        build(cli, instance)
        results = {each.name: each.outcome for each in reap(instances, remove=True, remove_group=lambda name: None)}
        name = instance.facts.identifier
        gone = name not in engine.instances
        assert (results[name] == "removed") is gone, (results, copy, instance)
        allowed = instance.made_by == copy.case and not instance.altered
        assert not gone or instance.made_by == copy.case, f"somebody else's instance was deleted: {instance}"
        assert gone or not allowed, f"the case's own copy was kept: {results[name]}"
        counts["removed" if gone else "kept"] += 1
        if not gone:
            rds_client(cli.live.lab).delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)
            instances._wait_gone(instances.get(name), 60, lambda status, seconds: None)
        shutil.rmtree(home)
    assert min(counts["removed"], counts["kept"]) > ON_LAB // 10, counts


def journalled(cli: Cli, copy: Copy, opened: dict[str, object]) -> os.PathLike[str]:
    """A closed case whose journal records what `copy` says of its creation, of the world's source."""
    plan = opened["plan"]
    assert isinstance(plan, dict)
    source = {**plan["source"], "resource_id": copy.source_resource_id}
    with Journal.create(cli.home / "cases" / copy.case) as journal:
        journal.append("case.opened", data={**opened, "plan": {**plan, "source": source}})
        if copy.creation is not None:
            journal.append("step.start", step="start-copy", data=copy.creation.model_dump(mode="json"))
        if copy.resource_id is not None:
            journal.append("step.done", step="start-copy", data={"resource_id": copy.resource_id})
        journal.append("case.closed", data={"outcome": "closed without change"})
    return journal.directory


def build(cli: Cli, instance: Instance) -> None:
    """The instance, with its tags, resource id and creation time, as RDS would show it."""
    tags = [{"Key": name, "Value": value} for name, value in instance.facts.tags.items()]
    rds_client(cli.live.lab).create_db_instance(
        DBInstanceIdentifier=instance.facts.identifier,
        Engine="postgres",
        DBInstanceClass="db.t3.micro",
        AllocatedStorage=20,
        MasterUsername="postgres",
        MasterUserPassword="irrelevant1",
        Tags=tags,
    )
    made = cli.live.lab.wait_for(instance.facts.identifier, "available")
    made.resource_id = instance.facts.resource_id
    made.ready_at = instance.facts.created_at or made.ready_at
