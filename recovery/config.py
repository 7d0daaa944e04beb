"""Profiles: `rowback.toml` says once per site what would otherwise be typed at 3 a.m."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.approval import Demand, Distinct

FILE_NAME = "rowback.toml"
PLACES = ("{host}", "{port}", "{local_port}")  # in the arguments of a tunnel
PROFILE_VARIABLE = "ROWBACK_PROFILE"  # the profile where none is named: what a runbook gives its commands


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LibpqCredentials(_Section):
    """libpq finds the password: PGPASSWORD, ~/.pgpass, or the service `service` of pg_service.conf."""

    source: Literal["libpq"] = "libpq"
    user: str | None = None
    service: str | None = None


class SecretCredentials(_Section):
    """A Secrets Manager secret with `username` and `password`, as RDS-managed secrets have."""

    source: Literal["secretsmanager"]
    arn: str


class IamCredentials(_Section):
    """A 15-minute IAM token, signed locally."""

    source: Literal["iam"]
    user: str


Credentials = Annotated[LibpqCredentials | SecretCredentials | IamCredentials, Field(discriminator="source")]


class ColumnReference(_Section):
    """One column, written `database.schema.table.column`."""

    database: str
    schema_name: str
    table: str
    column: str

    def __str__(self) -> str:
        return f"{self.database}.{self.schema_name}.{self.table}.{self.column}"


def _column(value: object) -> object:
    if not isinstance(value, str):
        return value
    parts = value.split(".")
    if len(parts) != 4:
        raise ValueError("write it database.schema.table.column")
    return dict(zip(("database", "schema_name", "table", "column"), parts, strict=True))


Column = Annotated[ColumnReference, BeforeValidator(_column)]


class Reference(_Section):
    """A link between two databases of one instance that no foreign key can hold: `from` refers to `to`."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
    child: Column = Field(alias="from")
    parent: Column = Field(alias="to")

    def __str__(self) -> str:
        return f"{self.child} → {self.parent}"


class Webhook(_Section):
    """A JSON document by POST. `url_env`: the variable that holds the address, where that is a secret."""

    url: str | None = None
    url_env: str | None = None

    @model_validator(mode="after")
    def _one_address(self) -> Webhook:
        if (self.url is None) == (self.url_env is None):
            raise ValueError("a webhook needs either url or url_env")
        return self


class Program(_Section):
    """A program that gets the same document on its standard input.

    `pass_env`: environment variables that are passed to it, besides the usual ones such as PATH and HOME.
    """

    command: tuple[str, ...] = Field(min_length=1)
    pass_env: tuple[str, ...] = ()


class Apprise(_Section):
    """A service by apprise's address, in a variable: such addresses are secrets. Needs the extra `notify`."""

    apprise_env: str


Notify = Webhook | Program | Apprise


class Profile(_Section):
    """One instance and how to reach and judge it. Times in the unit of their name. `name`: its own, as loaded."""

    name: str | None = None
    instance: str | None = None
    region: str | None = None
    database: str | None = None
    credentials: Credentials = LibpqCredentials()
    copy_class: str | None = None
    copy_parameter_group: str | None = None
    inside_vpc: bool = False
    copy_storage: Literal["gp2", "gp3", "io1", "io2"] | None = None
    copy_iops: int | None = Field(default=None, ge=1000)
    copy_tags: dict[str, str] = {}
    copy_expires_hours: int = Field(default=24, ge=1, le=24 * 14)
    ca_bundle: Path | None = None
    tunnel: tuple[str, ...] = ()
    sslmode: Literal["require", "verify-ca", "verify-full"] | None = None
    lock_timeout_ms: int = Field(default=2000, ge=1)
    lock_attempts: int = Field(default=30, ge=1)
    index_builders: int = Field(default=2, ge=1, le=16)
    copy_timeout_minutes: int = Field(default=240, ge=1)
    approvals_needed: int = Field(default=0, ge=0, le=5)
    approvals_by: Distinct = Distinct.PRINCIPAL
    minimum_retention_days: int = Field(default=7, ge=1, le=35)
    rto_minutes: float | None = Field(default=None, gt=0)
    rpo_minutes: float | None = Field(default=None, gt=0)
    references: tuple[Reference, ...] = ()
    notify: tuple[Notify, ...] = ()

    @model_validator(mode="after")
    def _iops_where_needed(self) -> Profile:
        if (self.copy_storage in {"io1", "io2"}) != (self.copy_iops is not None):
            raise ValueError("copy_iops goes with copy_storage io1 or io2, and these with it")
        return self

    @field_validator("tunnel")
    @classmethod
    def _listens(cls, tunnel: tuple[str, ...]) -> tuple[str, ...]:
        if tunnel and not all(any(place in each for each in tunnel[1:]) for place in PLACES):
            raise ValueError(f"its arguments have to hold {', '.join(PLACES)}")
        return tunnel

    @field_validator("copy_tags")
    @classmethod
    def _not_ours(cls, tags: dict[str, str]) -> dict[str, str]:
        if own := [key for key in tags if key.lower().startswith(("rowback:", "aws:"))]:
            raise ValueError(f"'{own[0]}': tags that begin with rowback: or aws: are not yours to set")
        return tags

    @property
    def approvals(self) -> Demand:
        """Who must have approved what is written."""
        return Demand(needed=self.approvals_needed, by=self.approvals_by)


class Configuration(_Section):
    """The whole file. `guard` is read by the guards (guards.policy), which refuse what they do not know."""

    profiles: dict[str, Profile] = {}
    reference: tuple[Reference, ...] = ()
    guard: dict[str, object] = {}


def load_profile(name: str | None, *, file: Path | None = None) -> Profile:
    """The profile `name` from `file` (default: ROWBACK_CONFIG, ./rowback.toml, ~/.config/rowback/rowback.toml).

    Without a name: an empty profile. Raises RowbackError(config-invalid) with the field at fault.
    """
    name = name or os.environ.get(PROFILE_VARIABLE) or None
    if name is None:
        return Profile()
    path = file or _file()
    if path is None:
        raise _invalid(f"profile '{name}' was asked for but no {FILE_NAME} was found")
    configuration = _read(path)
    if name not in configuration.profiles:
        names = ", ".join(sorted(configuration.profiles)) or "none"
        raise _invalid(f"{path} has no profile '{name}' (it has: {names})")
    return configuration.profiles[name].model_copy(update={"references": configuration.reference, "name": name})


def profile_names() -> list[str]:
    """Profiles of the file that is found first. Raises config-invalid."""
    path = _file()
    return sorted(_read(path).profiles) if path else []


def _file() -> Path | None:
    return next((path for path in _candidates() if path.is_file()), None)


def _read(path: Path) -> Configuration:
    try:
        return Configuration.model_validate(tomllib.loads(path.read_text()))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(text for part in first["loc"] if "[" not in (text := str(part)))  # pydantic's, not the file's
        raise _invalid(f"{path}: {field}: {first['msg']}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise _invalid(f"{path} cannot be read: {error}") from error


def state_home() -> Path:
    """Where cases are kept: ROWBACK_HOME, else XDG_STATE_HOME/rowback, else ~/.local/state/rowback."""
    if home := os.environ.get("ROWBACK_HOME"):
        return Path(home)
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "rowback"


def _candidates() -> list[Path]:
    configured = os.environ.get("ROWBACK_CONFIG")
    return [Path(configured)] if configured else [Path(FILE_NAME), Path.home() / ".config" / "rowback" / FILE_NAME]


def _invalid(fact: str) -> RowbackError:
    return RowbackError(
        ErrorId.CONFIG_INVALID,
        fact,
        state=NOTHING_CREATED,
        help="docs/reference/profiles.md shows every field",
    )
