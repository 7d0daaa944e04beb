"""What a function call does: PostgreSQL's own functions by name, all others unknown, for their bodies are not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from guards.statements.constant_text import HOLE, folded_text
from guards.statements.danger import Danger, Finding, Reach
from guards.statements.parse_tree import MISSING, constant
from guards.statements.statement_rules import guard_taken_off

DESTROYS = {
    "pg_terminate_backend": "ends another session",
    "pg_cancel_backend": "ends another session's query",
    "lo_unlink": "a large object",
    "lo_truncate": "a large object",
    "lo_truncate64": "a large object",
    "pg_drop_replication_slot": "whoever follows it",
    "pg_replication_origin_drop": "whoever follows it",
    "pg_promote": "the whole server",
    "pg_rotate_logfile": "the whole server",
    "pg_reload_conf": "the whole server",
    "pg_switch_wal": "the whole server",
    "pg_stat_reset": "statistics",
    "lo_export": "a file on the server",
    "pg_stat_reset_shared": "statistics",
    "pg_stat_reset_slru": "statistics",
    "pg_stat_reset_single_table_counters": "statistics",
    "pg_wal_replay_pause": "the whole server",
    "pg_replication_slot_advance": "whoever follows it",
    "pg_logical_slot_get_changes": "whoever follows it",
    "pg_logical_slot_get_binary_changes": "whoever follows it",
}
WRITES = frozenset(
    {
        "nextval",
        "setval",
        "lo_creat",
        "lo_create",
        "lo_from_bytea",
        "lo_import",
        "lo_put",
        "lowrite",
        "pg_notify",
        "pg_logical_emit_message",
        "pg_create_restore_point",
        "pg_create_logical_replication_slot",
        "pg_create_physical_replication_slot",
        "pg_copy_logical_replication_slot",
        "brin_summarize_new_values",
        "brin_summarize_range",
        "brin_desummarize_range",
        "gin_clean_pending_list",
        "pg_backup_start",
        "pg_backup_stop",
        "pg_import_system_collations",
        "pg_replication_origin_create",
    }
)
VOLATILE_READS = frozenset(
    {
        "uuidv4",
        "uuidv7",
        "array_sample",
        "array_shuffle",
        "clock_timestamp",
        "current_query",
        "currval",
        "gen_random_uuid",
        "lastval",
        "lo_close",
        "lo_get",
        "lo_lseek",
        "lo_lseek64",
        "lo_open",
        "lo_tell",
        "lo_tell64",
        "loread",
        "random",
        "random_normal",
        "setseed",
        "timeofday",
        "txid_status",
        "pg_advisory_lock",
        "pg_advisory_lock_shared",
        "pg_advisory_unlock",
        "pg_advisory_unlock_all",
        "pg_advisory_unlock_shared",
        "pg_advisory_xact_lock",
        "pg_advisory_xact_lock_shared",
        "pg_try_advisory_lock",
        "pg_try_advisory_lock_shared",
        "pg_try_advisory_xact_lock",
        "pg_try_advisory_xact_lock_shared",
        "pg_blocking_pids",
        "pg_control_checkpoint",
        "pg_control_init",
        "pg_control_recovery",
        "pg_control_system",
        "pg_current_logfile",
        "pg_current_wal_lsn",
        "pg_current_wal_insert_lsn",
        "pg_current_wal_flush_lsn",
        "pg_database_size",
        "pg_relation_size",
        "pg_table_size",
        "pg_indexes_size",
        "pg_total_relation_size",
        "pg_tablespace_size",
        "pg_export_snapshot",
        "pg_is_in_recovery",
        "pg_is_wal_replay_paused",
        "pg_last_wal_receive_lsn",
        "pg_last_wal_replay_lsn",
        "pg_last_xact_replay_timestamp",
        "pg_lock_status",
        "pg_ls_dir",
        "pg_ls_logdir",
        "pg_ls_waldir",
        "pg_partition_ancestors",
        "pg_partition_tree",
        "pg_prepared_xact",
        "pg_read_file",
        "pg_read_binary_file",
        "pg_sequence_last_value",
        "pg_sleep",
        "pg_sleep_for",
        "pg_sleep_until",
        "pg_stat_clear_snapshot",
        "pg_stat_file",
        "pg_stat_force_next_flush",
        "pg_xact_commit_timestamp",
        "pg_xact_status",
        "cursor_to_xml",
        "pg_logical_slot_peek_changes",
        "pg_show_all_file_settings",
        "pg_hba_file_rules",
        "pg_jit_available",
    }
)
# Of extensions that nearly every test suite meets; their names are nobody else's.
OF_EXTENSIONS = frozenset(
    {
        "uuid_generate_v1",
        "uuid_generate_v1mc",
        "uuid_generate_v3",
        "uuid_generate_v4",
        "uuid_generate_v5",
        "uuid_nil",
        "digest",
        "hmac",
        "crypt",
        "gen_salt",
        "gen_random_bytes",
        "encrypt",
        "decrypt",
        "pgp_sym_encrypt",
        "pgp_sym_decrypt",
        "similarity",
        "word_similarity",
        "strict_word_similarity",
        "show_trgm",
        "unaccent",
        "hstore",
        "akeys",
        "avals",
        "skeys",
        "svals",
        "levenshtein",
        "soundex",
        "metaphone",
        "dmetaphone",
    }
)
_OF_THE_SERVER = ("pg_stat_reset_shared", "pg_stat_reset_slru", "pg_replication_origin_drop", "lo_export")
# dblink's own: what they send elsewhere, and by which argument (a connection string, or the name of a connection).
DBLINK = frozenset({"dblink", "dblink_connect", "dblink_connect_u", "dblink_exec", "dblink_open", "dblink_send_query"})
RUNS_TEXT = frozenset({"query_to_xml", "query_to_xmlschema", "query_to_xml_and_xmlschema", "ts_stat", "ts_rewrite"})


@cache
def builtin() -> frozenset[str]:
    """Functions of pg_catalog that are immutable or stable, as PostgreSQL 17 lists them: they change nothing."""
    return frozenset(files(__package__).joinpath("builtin_functions.txt").read_text().split())


@dataclass(frozen=True)
class Sent:
    """A text that is sent to another session; None: it is not known here."""

    text: str | None


def function_findings(name: Sequence[str], arguments: Sequence[Any]) -> list[Finding | str | Sent]:
    """What one call does; texts that it runs, here or elsewhere, are returned to be classified themselves."""
    *schema, function = name
    shown = ".".join(name)
    if schema == ["information_schema"] and function.startswith("_pg_"):
        return []
    if function in DBLINK or (schema and schema != ["pg_catalog"]):
        return _elsewhere(shown, arguments) if function in DBLINK else [_unseen(shown)]
    if function == "set_config":
        return _set_config(arguments)
    if function == "ts_rewrite" and len(arguments) == 3:
        return []
    if function in RUNS_TEXT and arguments:
        text = folded_text(arguments[1 if function == "ts_rewrite" else 0])
        return [text] if text else [Finding(Danger.UNKNOWN, function, why="the text it runs is not known")]
    return _by_name(function, arguments)


def _reach(function: str, why: str) -> Reach | None:
    if why == "the whole server" or function in _OF_THE_SERVER:
        return Reach.SERVER
    if function.endswith("_backend"):
        return Reach.SESSIONS
    return Reach.SLOT if "slot" in function else None


def _slot(function: str, arguments: Sequence[Any]) -> tuple[str, ...]:
    """The replication slot that a call names."""
    name = folded_text(arguments[0]) if "slot" in function and arguments else None
    return (name,) if name and HOLE not in name else ()


def _by_name(function: str, arguments: Sequence[Any]) -> list[Finding | str | Sent]:
    if why := DESTROYS.get(function):
        return [Finding(Danger.DESTRUCTIVE, function, _slot(function, arguments), why=why, reach=_reach(function, why))]
    if function in WRITES:
        return [Finding(Danger.WRITE, function)]
    is_known = function in VOLATILE_READS or function in builtin() or function in OF_EXTENSIONS
    return [] if is_known else [_unseen(function)]


def _elsewhere(shown: str, arguments: Sequence[Any]) -> list[Finding | str | Sent]:
    """The connection string is the last argument of dblink_connect, the first one of the others.

    There it may also be the name of a connection, which was judged when it was made, or of a foreign server.
    """
    connects = "dblink_connect" in shown
    text = folded_text(arguments[len(arguments) - 1 if connects else 0]) if arguments else None
    conninfo = text if text and HOLE not in text else ""
    sent: list[Finding | str | Sent] = [] if connects else [Sent(folded_text(each)) for each in arguments[1:]]
    finding = Finding(
        Danger.UNKNOWN,
        f"{shown}()",
        why="what it sends to another session is not seen here",
        reach=Reach.ELSEWHERE,
        conninfo=conninfo,
    )
    return [finding, *sent]


def _set_config(arguments: Sequence[Any]) -> list[Finding | str | Sent]:
    name, value = (constant(argument) for argument in (*arguments[:2], *[{}] * (2 - len(arguments[:2]))))
    if name is MISSING:
        return [Finding(Danger.UNKNOWN, "set_config", why="which setting is not known")]
    if guard_taken_off(str(name), None if value is MISSING else value):
        return [Finding(Danger.DESTRUCTIVE, "set_config", (str(name),), why="takes a guard off")]
    return []


def _unseen(shown: str) -> Finding:
    return Finding(Danger.UNKNOWN, f"{shown}()", why="its body is not seen here")
