"""The key by which this user's journals are known: without it a journal can be read, and nothing is done by it.

A chain of plain hashes shows damage; it does not show who wrote the chain. Each record therefore carries an HMAC under
a key that lies outside the case directories, so that a case directory from elsewhere is a text and not a program.
`journal.key`: one key of 64 hexadecimal digits a line; the first signs, all of them verify, so that the cases of
another machine can be taken over by adding its line.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from guards.plain_text import shell_word
from recovery.config import state_home
from recovery.errors import ErrorId, RowbackError
from recovery.files import OTHERS, create_private, make_private, open_regular

KEY_FILE = "journal.key"
AS_ITS_USER = (
    "run rowback as the user whose cases these are (with or without sudo, as before), or set ROWBACK_HOME to a"
    " directory of this user"
)
FROM_A_BACKUP = (
    "bring it back from a backup; or move it away, and a new one is made, under which the cases so far can only be read"
)
_LINE = re.compile(rb'(?P<body>\{.*),"mac":"(?P<mac>[0-9a-f]{64})"\}\n', re.DOTALL)


def sign(line: bytes, key: bytes) -> bytes:
    """A record's line (a JSON object and a newline) with its `mac` under `key` as the last field."""
    body = line.removesuffix(b"}\n")
    return body + b',"mac":"' + _mac(key, body).encode() + b'"}\n'


def verifies(line: bytes, keys: tuple[bytes, ...]) -> bool:
    """Whether a line was signed by one of `keys`."""
    match = _LINE.fullmatch(line)
    if match is None:
        return False
    return any(hmac.compare_digest(_mac(key, match["body"]), match["mac"].decode()) for key in keys)


def known_keys() -> tuple[bytes, ...]:
    """The keys of this user; none where there is no key file. Raises config-invalid for a file others may write."""
    path = key_file()
    try:
        descriptor = open_regular(path, os.O_RDONLY)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise _unopenable(path, error) from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.geteuid():
            raise _unusable(path, f"it belongs to user {status.st_uid}, and this is user {os.geteuid()}", AS_ITS_USER)
        if stat.S_IMODE(status.st_mode) & OTHERS:
            raise _unusable(
                path, "others may read or write it", f"if nobody else did: chmod 600 {shell_word(str(path))}"
            )
        lines = file.read().split()
    if not lines or not all(re.fullmatch(rb"[0-9a-f]{64}", line) for line in lines):
        raise _unusable(path, "it does not hold one key of 64 hexadecimal digits a line", FROM_A_BACKUP)
    return tuple(bytes.fromhex(line.decode()) for line in lines)


def key_file() -> Path:
    """Where the keys are: beside the cases, in none of them."""
    return state_home() / KEY_FILE


def signing_key() -> bytes:
    """The key that new records are signed with; made where there is none. Raises config-invalid, OSError."""
    if keys := known_keys():
        return keys[0]
    make_private(state_home())
    with suppress(FileExistsError):  # another process made it just now
        create_private(key_file(), secrets.token_hex(32).encode() + b"\n")
    return known_keys()[0]


def _mac(key: bytes, body: bytes) -> str:
    return hmac.new(key, body, hashlib.sha256).hexdigest()


def _unusable(path: Path, why: str, help: str) -> RowbackError:
    return RowbackError(
        ErrorId.CONFIG_INVALID,
        f"{path}, the key of this user's journals, cannot be used: {why}",
        state="nothing was done",
        help=help,
    )


def _unopenable(path: Path, error: OSError) -> RowbackError:
    if path.is_symlink():
        return _unusable(path, "it is a link", f"put the file itself there: {shell_word(str(path))}")
    return _unusable(path, str(error.strerror), AS_ITS_USER if isinstance(error, PermissionError) else FROM_A_BACKUP)
