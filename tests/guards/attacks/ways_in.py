"""What the tests of attacks share."""

from __future__ import annotations

PURGE = (
    "create table orders as select generate_series(1, 9) as id",
    "create function purge() returns int language plpgsql as $$ begin delete from orders; return 1; end $$",
    "create view v_purge as select purge()",
)
