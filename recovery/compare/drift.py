"""Does a table still look as it did at T? Only identical columns are loaded. Pure."""

from __future__ import annotations

from recovery.model.catalog import Table


def drift(at_target: Table | None, live: Table) -> list[str]:
    """What keeps the rows at T from fitting `live`; empty when names, types and generated columns agree."""
    if at_target is None:
        return ["the table did not exist at T"]
    then = {column.name: column for column in at_target.columns}
    now = {column.name: column for column in live.columns}
    found = [f"column {name} was dropped or renamed since T" for name in then if name not in now]
    found += [f"column {name} was added since T" for name in now if name not in then]
    for name in then.keys() & now.keys():
        if then[name].type_name != now[name].type_name:
            found.append(f"column {name} was {then[name].type_name}, is {now[name].type_name}")
        elif then[name].generated != now[name].generated:
            found.append(f"column {name} changed between generated and plain")
    if at_target.unlogged:
        found.append("it was unlogged at T, so no backup holds its rows")
    return sorted(found)
