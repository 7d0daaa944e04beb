"""A bastion for the tests: listens on LOCAL_PORT and leads to PORT of this machine, for names of the lab only.

    python -m tests.forwarder HOST PORT LOCAL_PORT RECORD

Adds a line "HOST PORT connections" to RECORD for each connection that it carried.
"""

from __future__ import annotations

import socket
import sys
import threading
from pathlib import Path

from runbooks.lab.lab_state import DOMAIN


def main(host: str, port: str, local_port: str, record: str) -> None:
    if not host.endswith(f".{DOMAIN}"):
        sys.exit(f"{host} is not to be reached through here")
    with socket.create_server(("127.0.0.1", int(local_port))) as listener:
        while True:
            near, _ = listener.accept()
            try:
                far = socket.create_connection(("127.0.0.1", int(port)))
            except OSError:
                near.close()
                continue
            with Path(record).open("a") as lines:
                lines.write(f"{host} {port}\n")
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_carry, args=(source, sink), daemon=True).start()


def _carry(source: socket.socket, sink: socket.socket) -> None:
    try:
        while content := source.recv(65536):
            sink.sendall(content)
    except OSError:
        pass
    finally:
        for each in (source, sink):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


if __name__ == "__main__":
    main(*sys.argv[1:])
