"""What is a secret is masked, wherever it stands; what only looks like one is left alone."""

from __future__ import annotations

import pytest

from recovery.redaction import Redactor, secrets_in


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://ann:hunter2222@db/x", "postgresql://ann:***@db/x"),
        ("postgresql://ann:p@ss/w0rd!!@db/x", "postgresql://ann:***@db/x"),
        ("host=db password=hunter22 dbname=x", "host=db password=*** dbname=x"),
        ("PGPASSWORD=hunter2222", "PGPASSWORD=***"),
        ("export DB_PASSWORD='a b' AWS_SECRET_ACCESS_KEY=abc", "export DB_PASSWORD=*** AWS_SECRET_ACCESS_KEY=***"),
        ('{"username": "ann", "password": "hunter2222"}', '{"username": "ann", "password": "***"}'),
        ('{"MasterUserPassword":"hunter2222"}', '{"MasterUserPassword":"***"}'),
        ('{"secret_arn": null, "password": true}', '{"secret_arn": null, "password": true}'),
        ('"secret_arn": "arn:aws:secretsmanager:eu-west-1:1:secret:docs-QwkLHo"',) * 2,
        ("password=nullable1 password=null-abc password=null", "password=*** password=*** password=null"),
        ("psql --password hunter2222 -h db", "psql --password *** -h db"),
        ("Authorization: Bearer abc.def.ghi", "Authorization: Bearer ***"),
        ("alter role ann password 'hunter''2'", "alter role ann password ***"),
        (
            "arn:aws:secretsmanager:eu-west-1:1:secret:docs-QwkLHo",
            "arn:aws:secretsmanager:eu-west-1:1:secret:docs-QwkLHo",
        ),
        ("no password supplied", "no password supplied"),
        ("https://example.org/a:b", "https://example.org/a:b"),
    ],
)
def test_patterns(text: str, masked: str) -> None:
    assert Redactor()(text) == masked


def test_values_of_variables_named_like_secrets() -> None:
    found = secrets_in(
        {
            "PGPASSWORD": "Tr0ub4dor&3",
            "DEMO_PASSWORD": "staging",
            "MY_TOKEN": "content",
            "API_KEY": "12345678901",
            "APP_DSN": "postgresql://app:s3cret-word@db/x",
            "PLAIN": "Tr0ub4dor&4",
        }
    )
    assert found == {"Tr0ub4dor&3", "s3cret-word"}, "a plain word stands in names, and cannot be masked there"
    redact = Redactor(found)
    assert redact("s3cret-word and Tr0ub4dor&3 on docs-staging") == "*** and *** on docs-staging"


def test_long_text_without_a_space_is_no_burden() -> None:
    """Hex and base64 are one long word; the cost of a second try at each letter would grow with its square."""
    word = "0123456789abcdef" * 200_000
    assert Redactor()(word + " db_password=hunter22") == word + " db_password=***"
