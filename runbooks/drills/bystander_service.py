"""Another team's service on the same server: it writes all through a drill, and every write of it has to survive."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from runbooks.lab.background import connect
from runbooks.lab.lab_server import Lab

WRITE_PAUSE_S = 0.02


@dataclass
class BillingWriter:
    """Another team's service: writes invoices all the while and remembers every acknowledged one."""

    lab: Lab
    password: str
    acknowledged: list[int] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> BillingWriter:
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exit: object) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join(30)

    def kept(self) -> int:
        """How many of the acknowledged invoices are there."""
        with connect(self.lab, self.password, "billing") as billing:
            row = billing.execute(
                "select count(*) from invoices where invoice_id = any(%s)", (self.acknowledged,)
            ).fetchone()
        assert row
        return int(row[0])

    def _write(self) -> None:
        with connect(self.lab, self.password, "billing") as billing:
            while not self._stop.wait(WRITE_PAUSE_S):
                row = billing.execute(
                    "insert into invoices (customer_id, cents) values (1, 100) returning invoice_id"
                ).fetchone()
                assert row
                self.acknowledged.append(row[0])
