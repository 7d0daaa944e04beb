"""Bytes come back as they were, out of line and uncompressed, whichever way they take."""

from __future__ import annotations

import pytest

from tests.kinds.harness import World

pytestmark = pytest.mark.kinds

ARCHIVE = """
create table pages (id int primary key, image bytea not null);
alter table pages alter image set storage external;
insert into pages select g, sha256(convert_to('page ' || g, 'UTF8')) from generate_series(1, 15) g;
insert into pages values (70, decode(repeat('ff00415c', 20000), 'hex')), (71, '');
create table captions (id int primary key, body text);
insert into captions select g, 'caption ' || g from generate_series(1, 12) g;
"""
SUMS = "select id, length(image), encode(sha256(image), 'hex') from public.pages order by id"


@pytest.mark.parametrize("transport", ["dump", "copy"])
@pytest.mark.parametrize(
    "mistake",
    [("delete from pages where id >= 11", "delete from captions where id > 7"), ("truncate pages, captions",)],
    ids=["by row", "whole"],
)
def test_values_of_bytea(world: World, transport: str, mistake: tuple[str, ...]) -> None:
    """Length and checksum of each value are those of T. (More than 512 MB in one value is for a rehearsal by hand.)"""
    world.past(ARCHIVE)
    sums = world.look(SUMS)
    world.incident(*mistake)
    gone = len(sums) - len(world.rows("public.pages"))
    world.restore("--transport", transport)
    assert world.look(SUMS) == sums
    world.as_before("public.pages", "public.captions")
    world.counts("public.pages", back=gone)
