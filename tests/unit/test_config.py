"""rowback.toml: every field checked, every mistake named."""

from __future__ import annotations

from pathlib import Path

import pytest

from recovery.config import IamCredentials, Profile, SecretCredentials, load_profile, state_home
from recovery.errors import RowbackError

GOOD = """
[profiles.staging]
instance = "docs-staging"
region = "eu-west-1"
database = "docs"
copy_class = "db.r6g.large"
ca_bundle = "/etc/rds/global-bundle.pem"
rto_minutes = 60
credentials = { source = "iam", user = "rowback" }

[profiles.prod.credentials]
source = "secretsmanager"
arn = "arn:aws:secretsmanager:eu-west-1:1:secret:x"
"""


def test_profiles_are_read(tmp_path: Path) -> None:
    file = tmp_path / "rowback.toml"
    file.write_text(GOOD)
    staging = load_profile("staging", file=file)
    assert (staging.instance, staging.rto_minutes) == ("docs-staging", 60)
    assert staging.credentials == IamCredentials(source="iam", user="rowback")
    assert isinstance(load_profile("prod", file=file).credentials, SecretCredentials)


def test_no_profile_asked_for_is_an_empty_one() -> None:
    assert load_profile(None) == Profile()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[profiles.a]\ninstnce = 'x'", "profiles.a.instnce: Extra inputs are not permitted"),
        ("[profiles.a]\nrto_minutes = -1", "profiles.a.rto_minutes: Input should be greater than 0"),
        ("[profiles.b]", "has no profile 'a' (it has: b)"),
        ("[profiles.a", "cannot be read:"),
        ("[[profiles.a.notify]]", "profiles.a.notify.0: Value error, a webhook needs either url or url_env"),
        ("[[profiles.a.notify]]\nurl = 'http://x'\nurl_env = 'X'", "a webhook needs either url or url_env"),
        ("[profiles.a.credentials]\nsource = 'file'", "profiles.a.credentials: Input tag 'file' found"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "rowback.toml"
    file.write_text(text)
    with pytest.raises(RowbackError) as refused:
        load_profile("a", file=file)
    assert str(file) in refused.value.fact
    assert message in refused.value.fact
    assert refused.value.exit_code == 2


def test_a_profile_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(RowbackError, match=r"profile 'a' was asked for but no rowback.toml was found"):
        load_profile("a")


def test_where_cases_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROWBACK_HOME", "/x")
    assert state_home() == Path("/x")
    monkeypatch.delenv("ROWBACK_HOME")
    monkeypatch.setenv("XDG_STATE_HOME", "/y")
    assert state_home() == Path("/y/rowback")
