"""The port to what can be restored: what planning, recovering and reaping ask of AWS, whatever is restored.

One file for each implementation (instances.py). tests/contract/restorable.py lists them, and the tests beside it hold
each to what is said here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from recovery.model.deletion import Copy
from recovery.model.instance import CopySettings, InstanceFacts, RestoreWindow

StatusListener = Callable[[str, float], None]


class RestorableSource(Protocol):
    """One kind of thing that RDS can restore, in one region. Every error leaves as RowbackError.

    Waiting methods call `watch(status, seconds)` at each poll and give up after `deadline_s`.
    """

    @property
    def region(self) -> str:
        """The region of all that is asked here."""

    @property
    def poll_s(self) -> float:
        """Seconds between two looks at a status."""

    def get(self, identifier: str) -> InstanceFacts:
        """An original. Raises instance-unknown with the nearest names."""

    def find(self, identifier: str) -> InstanceFacts | None:
        """An original or a copy, or None when there is none of that name."""

    def identify(self, copy: Copy, watch: StatusListener) -> tuple[InstanceFacts | None, list[str]]:
        """What has the name of the copy, and why it is not proven to be the copy (model/deletion.py).

        Tags that are not to be seen yet are waited for.
        """

    def copies(self) -> list[InstanceFacts]:
        """All copies of the region, by the prefix of their names: whose they are is for model/deletion.py to say."""

    def window(self, source: InstanceFacts) -> RestoreWindow:
        """The seconds that `source` can be restored to. Raises backups-off."""

    def predecessors(self, source: InstanceFacts) -> list[str]:
        """What had the name of `source` before, and has backups of its own."""

    def parameter(self, group: str, name: str) -> str | None:
        """What a parameter group sets one parameter to; None where it leaves it to the engine's default."""

    def start_copy(
        self, copy: Copy, source: InstanceFacts, database: str | None, settings: CopySettings
    ) -> InstanceFacts:
        """Begin restoring `source` as of the target time of `copy.creation`, which was recorded before.

        The copy carries the nonce and target time of `copy.creation`, so that it is proven to be ours even when the
        answer is lost. `database`: the database to recover, None for a drill.
        """

    def wait_ready(self, identifier: str, *, deadline_s: float, watch: StatusListener) -> InstanceFacts:
        """Wait until the copy is available and stays so.

        Raises copy-failed at once in a final state, or when it is too late.
        """

    def reset_password(self, identifier: str, *, deadline_s: float, watch: StatusListener) -> str:
        """Give the copy a random master password and return it once it is in force, as far as RDS says so.

        The server may refuse it for a while. Raises copy-failed when that takes too long, ValueError when the
        identifier is not a copy's.
        """

    def keep_backups(self, identifier: str, *, days: int, deadline_s: float, watch: StatusListener) -> None:
        """Turn automated backups of a copy on, so that it can be restored itself. Raises ValueError for no copy."""

    def delete_copy(self, copy: Copy, *, deadline_s: float, watch: StatusListener) -> bool:
        """Delete the copy and wait until it is gone; False when there is none of its name.

        Raises delete-refused unless what has that name is proven to be `copy`, copy-failed when it does not go in time.
        """
