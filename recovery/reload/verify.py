"""After the commit: what the original holds now against what the temporary instance held at T."""

from __future__ import annotations

from recovery.model.report import TableProof, Verification
from recovery.postgres import writing
from recovery.postgres.connect import Session
from recovery.postgres.definitions import definitions_digest
from recovery.postgres.fingerprint import fingerprint, written_by_others
from recovery.postgres.rows import Pair
from recovery.reload.load import Job, Loaded, keys_to_check


def verify(live: Session, job: Job, loaded: Loaded) -> Verification:
    """Compare every table of the scope and every foreign key that touches it.

    The load committed only after all of it was proven under lock, and the server's accounts of its transaction were
    recorded before that. So what others do to the rows afterwards is counted apart, not taken for damage: rows they
    added (`written_since`), rows of ours they changed or deleted (`changed_since`), definitions they altered.
    """
    scope = {str(pair.name) for pair in job.pairs}
    keys = keys_to_check(job.plan.scope, job.catalog)
    return Verification(
        tables=tuple(_prove(live, pair, job, loaded.xid) for pair in job.pairs),
        foreign_keys_checked=len(keys),
        dangling_references=sum(writing.dangling_references(live, key) for key in keys),
        changed_outside_scope=tuple(sorted(loaded.touched.keys() - scope)),
        definitions_altered_since=definitions_digest(live) != loaded.definitions,
    )


def _prove(live: Session, pair: Pair, job: Job, xid: int) -> TableProof:
    expected = job.truth.fingerprints[str(pair.name)]
    version = job.truth.oldest_version_num
    found = fingerprint(live, pair.live, oldest_version_num=version)
    since = 0
    if found != expected and (since := written_by_others(live, pair.name, xid)):
        found = fingerprint(live, pair.live, oldest_version_num=version, written_by=xid)
    changed = max(0, expected.rows - found.rows)
    return TableProof(table=pair.name, at_target=expected, now=found, written_since=since, changed_since=changed)
