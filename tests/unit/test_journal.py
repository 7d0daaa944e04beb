"""The journal survives what a night throws at it: torn lines, a second process, a full disk, tampering, secrets."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recovery.errors import RowbackError
from recovery.files import create_private
from recovery.redaction import remember
from recovery.store.journal import FILE, Journal, is_driven, read_records


def test_records_come_back_in_order_and_chained(tmp_path: Path) -> None:
    with Journal.create(tmp_path / "case") as journal:
        journal.append("step.start", step="load", data={"n": 1})
        journal.append("step.done", step="load", data={"한": "글"})
    records = read_records(tmp_path / "case")
    assert [(r.seq, r.event, r.step, r.data) for r in records] == [
        (0, "step.start", "load", {"n": 1}),
        (1, "step.done", "load", {"한": "글"}),
    ]
    assert records[0].prev == "0" * 64
    assert records[1].prev != records[0].prev


def test_a_torn_last_line_is_left_out_and_cut_off_by_the_next_writer(tmp_path: Path) -> None:
    with Journal.create(tmp_path / "case") as journal:
        journal.append("one")
    path = tmp_path / "case" / FILE
    path.write_bytes(path.read_bytes() + b'{"seq":1,"at":"2026-1')
    assert [r.event for r in read_records(tmp_path / "case")] == ["one"]
    with Journal(tmp_path / "case") as journal:
        journal.append("two")
    assert [r.event for r in read_records(tmp_path / "case")] == ["one", "two"]


@pytest.mark.parametrize("tail", [b"\0" * 512, b'{"seq":1,"at"' + b"\0" * 99])
def test_blocks_that_a_power_cut_left_unwritten_are_cut_off(tmp_path: Path, tail: bytes) -> None:
    """A file system that had grown the file and not written it yet shows NULs after the last record."""
    with Journal.create(tmp_path / "case") as journal:
        journal.append("one")
    path = tmp_path / "case" / FILE
    path.write_bytes(path.read_bytes() + tail)
    assert [r.event for r in read_records(tmp_path / "case")] == ["one"]
    with Journal(tmp_path / "case") as journal:
        journal.append("two")
    assert [r.event for r in read_records(tmp_path / "case")] == ["one", "two"]
    assert b"\0" not in path.read_bytes()


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOTSUP])
def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    """Some network and memory-card file systems have none: a case is kept there all the same, and nothing replaced."""

    def no_link(source: object, target: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "link", no_link)
    with Journal.create(tmp_path / "case") as journal:
        journal.append("one")
    assert [r.event for r in read_records(tmp_path / "case")] == ["one"]
    with pytest.raises(FileExistsError):
        create_private(tmp_path / "case" / FILE, b"")
    assert (tmp_path / "case" / FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("altered", [0, 1])
def test_an_altered_record_is_noticed(tmp_path: Path, altered: int) -> None:
    with Journal.create(tmp_path / "case") as journal:
        for event in ("one", "two", "three"):
            journal.append(event)
    path = tmp_path / "case" / FILE
    lines = path.read_bytes().splitlines(keepends=True)
    lines[altered] = lines[altered].replace(b'"pid":', b'"pid":1')
    path.write_bytes(b"".join(lines))
    with pytest.raises(RowbackError) as refused:
        read_records(tmp_path / "case")
    assert refused.value.fact == f"the journal of case 'case' was altered before record {altered + 1}"


def test_only_one_process_writes_but_everybody_may_look(tmp_path: Path) -> None:
    assert not is_driven(tmp_path / "nowhere")
    with Journal.create(tmp_path / "case") as journal:
        journal.append("one")
        assert is_driven(tmp_path / "case")
        assert len(read_records(tmp_path / "case")) == 1
        with pytest.raises(RowbackError) as refused:
            Journal(tmp_path / "case")
    assert str(refused.value) == (
        "error[case-busy]: another process is driving case 'case'\n"
        "  nothing was done\n"
        "  help: watch it: rowback status case"
    )
    assert not is_driven(tmp_path / "case")


def test_secrets_never_reach_the_disk(tmp_path: Path) -> None:
    secret = 'pa"ss\\wörd'
    with Journal.create(tmp_path / "case") as journal:
        remember(secret)
        record = journal.append("x", data={"error": f"connection failed for postgresql://u:{secret}@h/db"})
    content = (tmp_path / "case" / FILE).read_text()
    assert "wörd" not in content
    assert record.data == {"error": "connection failed for postgresql://u:***@h/db"}
    assert read_records(tmp_path / "case")[0].data == record.data


def test_an_interrupt_never_splits_a_record(tmp_path: Path) -> None:
    """SIGINTs rain on a process that appends: every record is whole and the chain holds."""
    script = (
        "import os, signal, sys, threading, time\n"
        "from pathlib import Path\n"
        "from recovery.store.journal import Journal\n"
        "armed = False\n"
        "def interrupt(number, frame):\n"
        "    global armed\n"
        "    if armed:\n"
        "        armed = False\n"
        "        raise KeyboardInterrupt\n"
        "signal.signal(signal.SIGINT, interrupt)\n"
        "journal = Journal.create(Path(sys.argv[1]))\n"
        "stop = threading.Event()\n"
        "def rain():\n"
        "    while not stop.wait(0.0005):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "hits = 0\n"
        "threading.Thread(target=rain, daemon=True).start()\n"
        "n = 0\n"
        "end = time.monotonic() + 30\n"
        "while n < 300 or (hits < 20 and time.monotonic() < end):\n"
        "    try:\n"
        "        armed = True\n"
        "        journal.append('tick', data={'n': n})\n"
        "        n += 1\n"
        "        armed = False\n"
        "    except KeyboardInterrupt:\n"
        "        hits += 1\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "stop.set()\n"
        "print(hits)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "case")], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 0, "no interrupt arrived: the test proves nothing"
    assert len(read_records(tmp_path / "case")) >= 300


def test_a_full_disk_still_takes_the_last_words(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "none", mount], check=False, capture_output=True
        ).returncode
    ):
        pytest.skip("needs root and the right to mount a small tmpfs")
    try:
        journal = Journal.create(mount / "case")
        _fill(mount / "ballast")
        with journal:
            while (mount / "case" / "reserve").exists():
                journal.append("tick", data={"text": "x" * 512})
            journal.append("case.stopped", data={"why": "disk full"})
            with pytest.raises(RowbackError) as full:
                for _ in range(10_000):
                    journal.append("tick", data={"text": "x" * 512})
            assert full.value.exit_code == 38
        assert read_records(mount / "case")[-1].event == "tick", "whole records, and the chain of hashes holds"
        with pytest.raises(RowbackError) as refused:
            Journal.create(mount / "another")
        assert refused.value.exit_code == 38
    finally:
        subprocess.run(["umount", mount], check=True)


def test_a_case_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(RowbackError) as refused:
        read_records(tmp_path / "gone")
    assert refused.value.exit_code == 18


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as ballast:
        for _ in range(1000):
            try:
                ballast.write(bytes(4096))
            except OSError:
                return
    raise AssertionError("the disk did not fill up")
