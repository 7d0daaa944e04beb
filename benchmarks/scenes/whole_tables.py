"""Whole tables that were truncated, against pg_dump piped into psql, and a parallel restore into dropped tables.

At full size 5 M articles, 3 M revisions, 2 M tags of articles; ten indexes, one of them GIN, and four foreign keys.
rowback's time holds the checksums of T and the proof; the others prove nothing.
"""

from __future__ import annotations

import shutil

from benchmarks.bench_lab import NOW, THEN, Bench, Line, alternating, seconds, shell

GOALS = {"swap": "≥ 6×, ≤ 30 % of the WAL", "in-place": "≥ 4×", "plain": ""}
TABLES = ("articles", "revisions", "article_tags")
SCHEMA = """
create table spaces (id int primary key, name text not null);
create table tags (id int primary key, name text not null);
create table articles (id bigint primary key, uid uuid not null unique, space_id int not null, state int not null,
  title text not null, body text not null, meta jsonb not null, created timestamptz not null);
create table revisions (id bigint primary key, article_id bigint not null, body text not null,
  created timestamptz not null);
create table article_tags (article_id bigint not null, tag_id int not null, primary key (article_id, tag_id));
insert into spaces select g, 's' || g from generate_series(1, 10000) g;
insert into tags select g, 't' || g from generate_series(1, 2000) g;
insert into articles select g, md5(g::text)::uuid, 1 + g % 10000, g % 5, 'title ' || md5(g::text),
  repeat(md5((g * 7)::text), 4), jsonb_build_object('k', g % 1000, 'v', md5((g % 5000)::text)),
  timestamptz '2026-01-01Z' + g * interval '1 second' from generate_series(1, {articles}) g;
insert into revisions select g, 1 + (g * 7919::bigint) % {articles}, md5(g::text) || md5((g + 1)::text),
  timestamptz '2026-01-01Z' + g * interval '1 second' from generate_series(1, {revisions}) g;
insert into article_tags select distinct 1 + (g * 104729::bigint) % {articles}, 1 + g % 2000
  from generate_series(1, {tags}) g;
create index on articles using gin (meta jsonb_path_ops);
create index on articles (title);
create index on articles (space_id, created);
create index on articles (state, created);
create index on revisions (article_id);
create index on article_tags (tag_id);
alter table articles add foreign key (space_id) references spaces;
alter table revisions add foreign key (article_id) references articles;
alter table article_tags add foreign key (article_id) references articles;
alter table article_tags add foreign key (tag_id) references tags;
vacuum analyze
"""


def measure(bench: Bench) -> list[Line]:
    share = bench.share
    counts = {"articles": int(5e6 * share), "revisions": int(3e6 * share), "tags": int(2e6 * share)}
    bench.build(*SCHEMA.format(**counts).split(";"))
    held, listed = bench.sums(THEN, TABLES), " ".join(f"-t {name}" for name in TABLES)
    truncated = f"truncate {', '.join(TABLES)}"
    wal: dict[str, float] = {}
    locked: dict[str, float] = {}

    def ours(way: str) -> float:
        boundary = bench.anew(truncated)
        took: list[float] = []

        def act() -> None:
            measured = bench.ours(way, boundary)
            locked[way] = measured.locked_s
            took.append(measured.seconds)

        wal[way] = bench.wal(act)
        assert bench.sums(NOW, TABLES) == held, f"{way} did not bring everything back"
        return took[0]

    def psql() -> float:
        bench.anew(truncated)
        dump = f'"{bench.tools}/pg_dump" -a {listed} "{bench.dsn(THEN)}" | "{bench.tools}/psql" -q "{bench.dsn(NOW)}"'
        took: list[float] = []
        wal["psql"] = bench.wal(lambda: took.append(seconds(lambda: shell(dump))))
        return took[0]

    def parallel() -> float:
        bench.anew(f"drop table {', '.join(TABLES)}")
        target = bench.scratch / "fd"
        shutil.rmtree(target, ignore_errors=True)
        restore = f'"{bench.tools}/pg_restore" -j2 -d "{bench.dsn(NOW)}" "{target}"'
        dump = f'"{bench.tools}/pg_dump" -Fd -Z0 -j2 {listed} -f "{target}" "{bench.dsn(THEN)}"'
        return seconds(lambda: shell(f"{dump} && {restore}"))

    sides = [lambda way=way: ours(way) for way in GOALS]
    *took, by_psql, by_parallel = alternating(bench, *sides, psql, parallel)
    lines = [
        Line(
            f"{sum(counts.values()):,} rows in three truncated tables, `--load {way}`, against `pg_dump -a \\| psql`",
            f"{each:.1f} s, {wal[way]:,.0f} MiB of WAL, locked {locked[way]:.2f} s",
            f"{by_psql:.1f} s, {wal['psql']:,.0f} MiB",
            f"{by_psql / each:.1f}×, {wal[way] / wal['psql']:.0%} of the WAL",
            goal,
        )
        for (way, goal), each in zip(GOALS.items(), took, strict=True)
    ]
    against = "`pg_dump -Fd -Z0 -j2`, `pg_restore -j2` into dropped tables"
    what = f"the same, `--load swap`, against {against}"
    return [
        *lines,
        Line(what, f"{took[0]:.1f} s", f"{by_parallel:.1f} s", f"{by_parallel / took[0]:.1f}×", "≥ 1.5×"),
    ]
