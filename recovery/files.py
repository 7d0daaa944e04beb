"""Files of our own: private to this user, never reached through a link, and read only if they are regular files.

A link or a FIFO in the place of a journal is not followed, and no file is changed before it is known to be ours.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path

from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError

OTHERS = 0o077
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def make_private(path: Path) -> None:
    """Make a directory and what is missing above it, for this user alone; one that is there stays as it is."""
    for directory in (*reversed(path.parents), path):
        if not directory.is_dir():
            directory.mkdir(mode=0o700, exist_ok=True)


def private_directory(path: Path) -> Path:
    """Make a directory of our own naming that only this user may enter, or close one that is there to others.

    What is above it may be anybody's choice (ROWBACK_HOME=/tmp) and is not changed. Returns `path`. Raises OSError, and
    config-invalid for one that another user owns.
    """
    make_private(path)
    status = path.stat()
    if status.st_uid != os.geteuid():
        raise RowbackError(
            ErrorId.CONFIG_INVALID,
            f"{path} belongs to user {status.st_uid}, and this is user {os.geteuid()}",
            state=NOTHING_CREATED,
            help="set ROWBACK_HOME to a directory of your own, or run rowback as that user",
        )
    if status.st_mode & OTHERS:
        path.chmod(stat.S_IMODE(status.st_mode) & ~OTHERS)
    return path


def open_regular(path: Path, flags: int) -> int:
    """Open a regular file, not a link to one; returns its descriptor. `flags`: os.O_RDONLY or os.O_RDWR.

    Raises OSError as open() does, ELOOP for a symbolic link, and EINVAL for anything else that is no regular file.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(22, "it is no regular file", str(path))
    return descriptor


def read_regular(path: Path) -> bytes:
    """The whole content of a regular file. Raises OSError."""
    with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
        return file.read()


def create_private(path: Path, content: bytes) -> None:
    """Write a new file that only this user may read, whole or not at all. Raises FileExistsError and OSError.

    An existing file, also a link, is never written to.
    """
    scratch = _scratch(path, content)
    try:
        os.link(scratch, path)  # which, unlike a rename, replaces nothing
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        _create_without_links(path, content)
    finally:
        scratch.unlink(missing_ok=True)


def _create_without_links(path: Path, content: bytes) -> None:
    """For file systems that have none: nothing is replaced either, but a reader may see the file half written."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_private(path: Path, content: bytes) -> None:
    """Write a file that only this user may read, whole or not at all, in the place of one that may be there.

    A link is replaced, not followed. Raises OSError.
    """
    scratch = _scratch(path, content)
    try:
        scratch.replace(path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise


def _scratch(path: Path, content: bytes) -> Path:
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        scratch.unlink(missing_ok=True)
        raise
    return scratch
