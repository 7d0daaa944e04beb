"""What a shell may complete: cases, profiles, instances."""

from __future__ import annotations

from contextlib import suppress

import click

from recovery.errors import RowbackError


def complete_case(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Cases on this machine whose id begins or ends so, the newest first."""
    from recovery.store.case_directory import all_cases

    ids = [case.id for case in reversed(all_cases())]
    return [id for id in ids if id.startswith(incomplete) or id.endswith(incomplete)]


def complete_profile(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Profiles of rowback.toml."""
    from recovery.config import profile_names

    with suppress(RowbackError):
        return [name for name in profile_names() if name.startswith(incomplete)]
    return []


def complete_instance(ctx: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Instances that profiles name and, where AWS answers (the lab does at once), those of the account."""
    from recovery.aws.instances import Instances
    from recovery.config import load_profile, profile_names

    with suppress(RowbackError):
        profiles = [load_profile(name) for name in profile_names()]
        names = [profile.instance for profile in profiles if profile.instance]
        with suppress(RowbackError):
            region = ctx.params.get("region") or load_profile(ctx.params.get("profile")).region
            names += Instances.connect(region).names()
        return sorted({name for name in names if name.startswith(incomplete)})
    return []
