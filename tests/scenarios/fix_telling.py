"""Where files of others are told from ours."""

from __future__ import annotations

import re

ELSEWHERE = re.compile(r"""(?:src|href|action)\s*=\s*["']?(?:https?:)?//|@import|url\(""")
