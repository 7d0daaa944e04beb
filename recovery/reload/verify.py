"""After the commit: what the original holds now against what the temporary instance held at T."""

from __future__ import annotations

from recovery.model.report import Fingerprint, TableProof, Verification
from recovery.postgres import writing
from recovery.postgres.catalog import definitions_digest
from recovery.postgres.connect import Session
from recovery.postgres.fingerprint import fingerprint, written_by_others
from recovery.postgres.rows import Pair
from recovery.reload.load import Job, Loaded, keys_to_check


def verify(live: Session, job: Job, loaded: Loaded, *, definitions_before: str) -> Verification:
    """Compare every table of the scope, every foreign key that touches it, and the database's definitions.

    What the load did outside its scope is told by the server's accounts of its transaction, recorded before the
    commit. Rows that others wrote after the load are counted apart, not taken for damage.
    """
    scope = {str(pair.name) for pair in job.pairs}
    keys = keys_to_check(job.plan.scope, job.catalog)
    return Verification(
        tables=tuple(_prove(live, pair, job, loaded.xid) for pair in job.pairs),
        foreign_keys_checked=len(keys),
        dangling_references=sum(writing.dangling_references(live, key) for key in keys),
        changed_outside_scope=tuple(sorted(loaded.touched.keys() - scope)),
        definitions_unchanged=definitions_digest(live) == definitions_before,
    )


def _prove(live: Session, pair: Pair, job: Job, xid: int) -> TableProof:
    expected: Fingerprint = job.truth.fingerprints[str(pair.name)]
    version = job.truth.oldest_version_num
    found = fingerprint(live, pair.live, oldest_version_num=version)
    since = 0
    if found != expected and (since := written_by_others(live, pair.name, xid)):
        found = fingerprint(live, pair.live, oldest_version_num=version, written_by=xid)
    return TableProof(table=pair.name, at_target=expected, now=found, written_since=since)
