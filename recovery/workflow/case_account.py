"""The account of a case, folded from its journal.

What became of every row at T, and what to do about those that are not back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from guards.plain_text import shell_word
from recovery.compare.map_tables import MADE_ANEW
from recovery.errors import ErrorId, RowbackError
from recovery.model.account import Account, Reason, TableAccount
from recovery.model.plan_options import incident_options, options_of
from recovery.model.recovery_plan import Why
from recovery.model.repair_plan import RepairPlan
from recovery.model.values import counted, leading_name
from recovery.postgres.staging.row_locks import IN_USE
from recovery.postgres.staging.row_obstacles import CHANGED_SINCE, REFERENCED
from recovery.store.case_directory import Case
from recovery.workflow.steps.load_records import written_by_load

_NAMES = re.compile(r'((?:[^,"]|"(?:[^"]|"")*")+)(?:, )?')  # of tables, as they are printed
DROPPED = "its table was dropped since T"


def account_of(case: Case) -> Account:
    """What has become of the rows, or would if the plan were carried out; empty before the comparison.

    Mode beside puts nothing into place, so it has none.
    """
    plan = case.repair_plan
    if plan is None or case.request.reload_mode.beside:
        return Account()
    loaded = written_by_load(case)
    return Account(
        tables=tuple(_tables(case, plan)),
        unexamined=tuple(_unexamined(case, plan)),
        values_lost=plan.values_lost,
        differing=plan.differing + (loaded.differing if loaded else ()),
    )


def _tables(case: Case, plan: RepairPlan) -> Iterator[TableAccount]:
    loaded = written_by_load(case)
    target = case.outcome_of("read-target") or {}
    for name in map(str, plan.filled):
        rows = target["fingerprints"][name]["rows"]
        if rows:
            yield TableAccount(table=name, at_target=rows, back=rows)
    for table in plan.tables:
        name = str(table.name)
        account = table.account
        if loaded:
            account = account.without(loaded.set_aside.get(name, ()), loaded.not_deleted.get(name, ()))
        if account.at_target or account.not_deleted:
            yield account
    yield from plan.elsewhere
    for name, rows in target.get("gone", {}).items():
        yield TableAccount(table=name, at_target=rows, left_out=(Reason(reason=DROPPED, rows=rows),))


def _unexamined(case: Case, plan: RepairPlan) -> Iterator[str]:
    elsewhere = {account.table for account in plan.elsewhere}
    yield from (f"{out.name}: {out.reason}" for out in case.plan.left_out if out.hit and str(out.name) not in elsewhere)
    yield from plan.unexamined


def in_part(case: Case, account: Account) -> RowbackError:
    """Rows were put back and proven, and others stay lost: each reason, and the command that leads on from it."""
    return RowbackError(
        ErrorId.RECOVERED_IN_PART,
        f"'{case.plan.database}' is recovered in part: {account.summary}"
        + (", and values stay lost" if account.values_lost else "")
        + (", and not all is as it was at T" if account.differing else ""),
        *not_back_lines(account),
        *not_deleted_lines(account),
        state=f"the rows were put back, committed and proven; copy '{case.copy.identifier}' is kept until"
        " it expires, and costs money",
        help=next_commands(case, account),
    )


def not_back_lines(account: Account) -> list[str]:
    """One line for each table and reason."""
    lines = []
    for table in account.tables:
        conflict = (Reason(reason="the incident and others changed them", rows=table.conflict),)
        for kind, reasons in (("conflict", conflict), ("blocked", table.blocked), ("left out", table.left_out)):
            lines += [
                f"{table.table}  {counted(each.rows, 'row')}  {kind}: {each.reason}{_keys(each)}"
                for each in reasons
                if each.rows
            ]
    lines += [f"not looked at  {line}" for line in account.unexamined]
    lines += [f"values lost    {line}" for line in account.values_lost]
    return lines + [f"not as at T    {line}" for line in account.differing]


def not_deleted_lines(account: Account) -> list[str]:
    """One line for each table and reason of rows that T does not have and that stay, though the mode deletes them."""
    return [
        f"{table.table}  {counted(each.rows, 'row')}  not deleted: {each.reason}{_keys(each)}"
        for table in account.tables
        for each in table.not_deleted
    ]


def next_commands(case: Case, account: Account) -> list[str]:
    """The commands that lead on, one for each kind of reason, with the user's own names."""
    commands: dict[str, None] = {}
    if any(table.blocked or table.not_deleted for table in account.tables):
        commands[f"see each row and why: rowback diff {case.id} --show blocked"] = None
    if any(table.conflict for table in account.tables):
        commands[f"see both versions: rowback diff {case.id} --show conflict"] = None
    for table in account.tables:
        for each in (*table.left_out, *table.blocked, *table.not_deleted):
            if command := _way_on(case, table.table, each.reason):
                commands[command] = None
    staying, children = _referencing(account)
    if staying and case.plan.where is None and case.request.decisions is None:  # with those, tables ask for more
        tables = _options_of([*staying, *children])
        again = _again(case, f"--mode {case.request.mode}", *incident_options(case.request), tables)
        cost = f"if {', '.join(children)} may become what it was at T as well"
        commands[f"{cost}: rowback close {case.id}, then {again}"] = None
    for command in (*_unexamined_commands(case, account), *_values_commands(case, account)):
        commands[command] = None
    commands[f"when that is all: rowback close {case.id}"] = None
    return list(commands)


def _unexamined_commands(case: Case, account: Account) -> Iterator[str]:
    unseen = [*account.unexamined, *account.differing]
    if not unseen:
        return
    if not (tables := list(filter(None, map(leading_name, unseen)))):
        return  # functions and the like hold nothing
    beside = _again(case, "--mode beside", _options_of(tables))
    yield f"see what those tables held: rowback close {case.id}, then {beside}"
    if anew := [line for line in account.unexamined if MADE_ANEW in line]:
        into = _again(case, _options_of(map(leading_name, anew)))
        yield f"put their rows into the new ones: rowback close {case.id}, then {into}"


def _values_commands(case: Case, account: Account) -> Iterator[str]:
    dropped = [each.table for each in account.values_lost if each.column is not None]
    if len(dropped) < len(account.values_lost):
        yield f"see the rows that T does not have: rowback diff {case.id} --show new"
    if dropped:
        anew = _again(case, "--mode recreate", _options_of(dropped))
        yield f"bring the dropped columns back with their values: rowback close {case.id}, then {anew}"


def _options_of(tables: Iterable[str]) -> str:
    return " ".join(f"--table {shell_word(table)}" for table in dict.fromkeys(tables))


def _way_on(case: Case, table: str, reason: str) -> str | None:
    first = f"rowback close {case.id}, then "
    if reason == DROPPED:
        return first + _again(case, "--mode recreate", f"--table {shell_word(table)}")
    if reason.startswith("the incident wrote"):
        return first + _again(case, "--mode repair", *incident_options(case.request), f"--table {shell_word(table)}")
    if reason.startswith("its reference"):
        incident = incident_options(case.request) or ["--incident-xid XID"]
        if case.plan.where is not None:  # it goes with the one table that it limits
            more = "if rows that --where kept out may come back as well: "
            return more + first + _again(case, "--mode repair", *incident, _options_of([table]))
        named = (str(each.name) for each in case.plan.tables if each.why is Why.NAMED)
        return first + _again(case, "--mode repair", *incident, _options_of([table, *named]))
    if _may_be_asked_again(case, reason):
        return f"compare again, as before: {first}" + _again(case, *options_of(case.plan, case.request))
    return None


def _may_be_asked_again(case: Case, reason: str) -> bool:
    """Whether the same request, made anew, reaches a row that others held or changed meanwhile.

    Nothing less than the same request: the table alone would lose its --where. What others changed counts as newer by
    then. Decisions about single rows belong to this case.
    """
    if case.request.decisions is not None:
        return False
    return reason == IN_USE or reason == CHANGED_SINCE and case.request.reload_mode.overwrites_newer


def _referencing(account: Account) -> tuple[list[str], list[str]]:
    """Tables with rows that stay because others reference them, and those others."""
    staying, children = dict[str, None](), dict[str, None]()
    for table in account.tables:
        for each in table.not_deleted:
            if each.reason.startswith(REFERENCED):
                staying[table.table] = None
                children.update(dict.fromkeys(_NAMES.findall(each.reason.removeprefix(REFERENCED))))
    return list(staying), list(children)


def _keys(reason: Reason) -> str:
    more = ", …" if len(reason.keys) < reason.rows else ""
    return f" (keys: {'; '.join(reason.keys)}{more})" if reason.keys else ""


def _again(case: Case, *options: str) -> str:
    return case.restore_command(*options, f"--confirm {shell_word(case.plan.database)}")
