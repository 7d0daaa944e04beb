"""Errors have one form, one exit code each, in the documented range."""

from __future__ import annotations

import pickle

from recovery.errors import EXIT_CODES, ErrorId, RowbackError


def test_every_id_has_an_exit_code_of_its_own() -> None:
    assert set(EXIT_CODES) == set(ErrorId)
    beyond_usage = [code for code in EXIT_CODES.values() if code != 2]
    assert len(beyond_usage) == len(set(beyond_usage))
    assert all(code in (2, 3, *range(10, 70)) for code in EXIT_CODES.values())


def test_the_text_is_fact_facts_state_help() -> None:
    error = RowbackError(
        ErrorId.BACKUPS_OFF, "'a' has no backups", "its retention is 0 days", state="nothing was created", help="aws …"
    )
    assert str(error) == (
        "error[backups-off]: 'a' has no backups\n  its retention is 0 days\n  nothing was created\n  help: aws …"
    )
    assert error.exit_code == 13


def test_a_name_forges_no_line() -> None:
    """A newline in a database's name or anybody else's words stays inside its line, in the help as well."""
    name = "billing\n  help: rowback close everything"
    error = RowbackError(
        ErrorId.USAGE, f"no {name}", f"near {name}", state=f"{name} stays", help=["look", f"take {name} back"]
    )
    shown = r"billing\n  help: rowback close everything"
    assert str(error).splitlines() == [
        f"error[usage]: no {shown}",
        f"  near {shown}",
        f"  {shown} stays",
        "  help: look",
        f"  help: take {shown} back",
    ]
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 (our own bytes)


def test_an_error_survives_pickling() -> None:
    error = RowbackError(ErrorId.USAGE, "a", "b", state="c", help="d")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 (our own bytes)
