"""Reload modes as values: one file each, and their registry.

The choices and help of the command line, the reference and the contract suite are made of the registry. Pure: what a
mode decides is data, which the planning and writing code reads.

Read in this order: reload_mode, missing, repair, replace, beside, recreate.
"""

from __future__ import annotations

from collections.abc import Mapping

from recovery.model.modes.beside import BESIDE
from recovery.model.modes.missing import MISSING
from recovery.model.modes.recreate import RECREATE
from recovery.model.modes.reload_mode import Mode, ReloadMode
from recovery.model.modes.repair import REPAIR
from recovery.model.modes.replace import REPLACE

DEFAULT = MISSING
MODES: Mapping[Mode, ReloadMode] = {mode.name: mode for mode in (MISSING, REPAIR, REPLACE, BESIDE, RECREATE)}
