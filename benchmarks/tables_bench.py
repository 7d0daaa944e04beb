"""Whole tables that were truncated: rowback against pg_dump -a | psql, in one run, one after the other.

    python -m benchmarks.tables_bench [--scale 0.1] [--repeat 3]

At scale 1: 5 M articles, 3 M revisions, 2 M tags of articles; ten indexes, one of them GIN, and four foreign keys.
rowback's time holds the checksums of T and the proof; the other proves nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys

import psycopg

from benchmarks.bench import INSTANCE, NOW, THEN, Bench, machine, seconds, shell
from runbooks.lab.background import MASTER
from runbooks.lab.lab_server import Lab

PSQL = "psql"
WAYS = ("in-place", "plain", PSQL)
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


def sums(bench: Bench, database: str) -> list[object]:
    """Rows of each table, their checksums, and how many indexes and validated foreign keys there are."""
    with psycopg.connect(bench.dsn(database), autocommit=True) as session:
        of_rows = "select count(*), sum(hash_record_extended(t, 0)) from {} t"
        return [
            *(session.execute(of_rows.format(name)).fetchone() for name in TABLES),
            session.execute("select count(*) from pg_index where indisvalid").fetchone(),
            session.execute("select count(*) from pg_constraint where contype = 'f' and convalidated").fetchone(),
        ]


def measure(bench: Bench, repeat: int) -> str:
    """Every way in turn, each on the same truncated tables, each checked by our own sums."""
    tools, held, scratch = bench.lab.engine.tools.bin, sums(bench, THEN), bench.lab.root / "bench"
    listed = " ".join(f"-t {name}" for name in TABLES)
    dump = f'"{tools}/pg_dump" -a {listed} "{bench.dsn(THEN)}" | "{tools}/psql" -q "{bench.dsn(NOW)}"'
    took: dict[str, list[float]] = {way: [] for way in WAYS}
    wal: dict[str, float] = {}
    locked: dict[str, float] = {}
    for number in range(repeat):
        for way in WAYS if number % 2 == 0 else reversed(WAYS):
            boundary = bench.anew(f"truncate {', '.join(TABLES)}")

            def act(way: str = way, boundary: int = boundary) -> None:
                if way == PSQL:
                    took[way].append(seconds(lambda: shell(f"set -o pipefail; {dump}")))
                    return
                measured = bench.ours(way, boundary, scratch)
                locked[way] = measured.locked_s
                took[way].append(measured.seconds)

            wal[way] = bench.wal(act)
            assert sums(bench, NOW) == held, f"{way} did not bring everything back"
    theirs = statistics.median(took[PSQL])
    return "\n".join(
        f"| whole tables, `--load {way}` | {(ours := statistics.median(took[way])):.1f} s, {wal[way]:,.0f} MiB of WAL,"
        f" writers waited {locked[way]:.1f} s | {theirs:.1f} s, {wal[PSQL]:,.0f} MiB | {theirs / ours:.1f}×,"
        f" {wal[way] / wal[PSQL]:.0%} of the WAL |"
        for way in WAYS
        if way != PSQL
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    counts = {"articles": int(5e6 * asked.scale), "revisions": int(3e6 * asked.scale), "tags": int(2e6 * asked.scale)}
    with Lab.start() as lab:
        password = lab.create_instance(INSTANCE, master=MASTER, PubliclyAccessible=False)
        bench = Bench(lab, password, counts["articles"], asked.repeat)
        (lab.root / "bench").mkdir()
        bench.run("postgres", f"create database {THEN}")
        with psycopg.connect(bench.dsn(THEN), autocommit=True) as session:
            for statement in SCHEMA.format(**counts).split(";"):
                session.execute(statement)
        text = measure(bench, asked.repeat)
        version = lab.engine.tools.version
    sys.stdout.write(
        f"`python -m benchmarks.tables_bench --scale {asked.scale} --repeat {asked.repeat}`, PostgreSQL {version},"
        f" {machine()}:\n\n| what | rowback, with T's checksums and the proof |"
        f" pg_dump -a \\| psql, no proof | ratio |\n|---|---|---|---|\n{text}\n"
    )


if __name__ == "__main__":
    main()
