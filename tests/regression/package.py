"""The sources of PostgreSQL 15's regression tests, out of the distribution's source package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

PACKAGE = "postgresql-15"
INSIDE = Path("src", "test", "regress")
APT_DEADLINE_S = 120.0
APT_DIRECTORY = Path("/etc/apt")


def default_cache() -> Path:
    """Where the sources stay between two runs: $XDG_CACHE_HOME, or else the system's temp directory."""
    return Path(os.environ.get("XDG_CACHE_HOME") or tempfile.gettempdir()) / "rowback-regression"


def regression_sources(cache: Path) -> Path | None:
    """The directory that holds sql/, data/ and parallel_schedule; downloaded on the first call.

    None, with the reason printed, when the package cannot be had on this machine.
    """
    if found := _unpacked(cache):
        return found
    missing = [tool for tool in ("apt-get", "apt-cache", "tar", "bzip2") if shutil.which(tool) is None]
    if missing:
        _unavailable(f"no {missing[0]} on this machine")
        return None
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="fetching-") as work:
        try:
            archive = _download(Path(work))
            return _unpack(archive, cache, Path(work))
        except (OSError, subprocess.SubprocessError, LookupError) as error:
            _unavailable(_words(error))
            return None


def _unavailable(reason: str) -> None:
    """Say why there are no sources."""
    print(f"no regression tests of PostgreSQL: {reason}")  # noqa: T201 (the caller's test shows it as its reason)


def _words(error: Exception) -> str:
    """What went wrong in one line; of a program that failed, the last line it said, without its host names."""
    said = getattr(error, "stderr", None) or str(error)
    lines = [line for line in str(said).splitlines() if line.strip()] or [type(error).__name__]
    return re.sub(r"\w+://\S+", "(an address)", lines[-1])


def _unpacked(cache: Path) -> Path | None:
    """Sources that an earlier call left in the cache. They come by a rename, so they are whole."""
    found = sorted(cache.glob("regress-*"))
    return found[-1] if found else None


def _unpack(archive: Path, cache: Path, work: Path) -> Path:
    """Take the regression tests out of the archive and put them into the cache in one step."""
    version = re.sub(r".*_(.+)\.orig\..*", r"\1", archive.name)
    arguments: list[str | Path] = [
        "tar",
        "-x",
        "-f",
        archive,
        "-C",
        work,
        "--no-same-owner",
        "--wildcards",
        f"*/{INSIDE}/*",
    ]
    subprocess.run(arguments, check=True, capture_output=True, text=True)
    tree = _only(work, f"*/{INSIDE}")
    goal = cache / f"regress-{version}"
    try:
        tree.rename(goal)
    except OSError:
        if not goal.is_dir():  # another process was faster: then its copy is as good as ours
            raise
    return goal


def _download(work: Path) -> Path:
    """Bring the upstream archive into `work`: of the installed version first, then of any other that is offered.

    A mirror may list a source that it no longer (or never) holds; apt-get checks what it brings.
    """
    options = _apt_options(work)
    _run(["apt-get", *options, "update"], work, check=False)  # one list that fails does not spoil the others
    shown = _run(["apt-cache", *options, "showsrc", "--only-source", PACKAGE], work)
    offered = sorted(set(re.findall(r"(?m)^Version: (\S+)", shown)), key=_numbers, reverse=True)
    installed = _run(["dpkg-query", "-W", "-f", "${Version}", PACKAGE], work, check=False)
    failure: Exception = LookupError(f"apt-get update brings no source package {PACKAGE}")
    for version in sorted(offered, key=lambda one: one != installed):
        try:
            _run(["apt-get", *options, "source", "--download-only", f"{PACKAGE}={version}"], work)
        except subprocess.SubprocessError as error:
            failure = error
            continue
        return _only(work, f"{PACKAGE}_*.orig.tar.*[!c]")  # not its signature (.asc)
    raise failure


def _only(directory: Path, pattern: str) -> Path:
    """The one path of a pattern. Raises LookupError when there is none or another beside it."""
    found = list(directory.glob(pattern))
    if len(found) != 1:
        raise LookupError(f"the source package has {len(found)} times {pattern}")
    return found[0]


def _numbers(version: str) -> list[int]:
    """The numbers of a version, to sort by."""
    return [int(number) for number in re.findall(r"\d+", version)]


def _apt_options(work: Path) -> list[str]:
    """Options that make apt use sources, lists and a cache of our own; proxies and keys stay the machine's."""
    sources, lists, kept = work / "sources", work / "lists", work / "cache"
    for directory in (sources, lists / "partial", kept / "archives" / "partial"):
        directory.mkdir(parents=True)
    for path in [APT_DIRECTORY / "sources.list", *(APT_DIRECTORY / "sources.list.d").glob("*")]:
        if path.suffix in {".list", ".sources"} and path.is_file():
            (sources / path.name).write_text(_with_sources(path.read_text()))
    settings = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": sources,
        "Dir::State::lists": lists,
        "Dir::Cache": kept,
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "",
    }
    return [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]


def _with_sources(text: str) -> str:
    """The machine's list of package sources, asking for source packages instead of binary ones."""
    text = re.sub(r"(?m)^Types:.*$", "Types: deb-src", text)
    return re.sub(r"(?m)^deb(?=\s)", "deb-src", text)


def _run(arguments: list[str], work: Path, *, check: bool = True) -> str:
    """Run one program in `work` and return what it wrote."""
    done = subprocess.run(
        arguments,
        cwd=work,
        capture_output=True,
        text=True,
        check=check,
        timeout=APT_DEADLINE_S,
        env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
    )
    return done.stdout
