"""What options take besides text: sizes, transaction ids, durations."""

from __future__ import annotations

import re

import click

from recovery.errors import NOTHING_CREATED, ErrorId, RowbackError
from recovery.model.durations import duration_s


class Bytes(click.ParamType[int]):
    """A size such as 8MiB or 500kB, as a number of bytes."""

    name = "size"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Refuse what is no size, and nothing."""
        from pydantic import ByteSize, TypeAdapter, ValidationError

        try:
            size_bytes = int(TypeAdapter(ByteSize).validate_python(value))
        except ValidationError:
            size_bytes = 0
        if size_bytes <= 0:
            self.fail(f"{value!r} is not a size such as 8MiB", param, ctx)
        return size_bytes


BYTES = Bytes()


class XidRange(click.ParamType[tuple[int, int]]):
    """A transaction id such as 3587, or the first and last of several: 3587..3760."""

    name = "xid"

    def convert(
        self, value: str | tuple[int, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Refuse what is no id, and a range from the later to the earlier."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,19})(?:\.\.(\d{1,19}))?", value)
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if low > high:
            self.fail(f"{value!r} is no transaction id such as 3587, nor a range such as 3587..3760", param, ctx)
        return low, high


def seconds(text: str) -> float:
    """`90s`, `10m`, `2h`, `1d` as seconds. Raises usage."""
    if (length_s := duration_s(text)) is not None:
        return length_s
    raise RowbackError(
        ErrorId.USAGE,
        f"'{text}' is not a duration",
        state=NOTHING_CREATED,
        help="write it like 90s, 10m, 2h or 1d",
    )
