"""Small charts as inline SVG: no script, no font, no request; readable in print and in the dark."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from markupsafe import Markup, escape

ROW, LEFT, WIDTH = 26, 150, 420


def bars(values: Sequence[tuple[str, float]]) -> Markup:
    """Horizontal bars with their numbers, for seconds."""
    most = max((value for _, value in values), default=0.0) or 1.0
    parts = []
    for index, (name, value) in enumerate(values):
        y, width = index * ROW, max(2.0, WIDTH * value / most)
        parts.append(
            Markup(
                '<text class="axis" x="{x}" y="{y}" text-anchor="end">{name}</text>'
                '<rect class="bar" x="{left}" y="{top}" width="{width:.1f}" height="14" rx="2"/>'
                '<text class="axis" x="{end:.1f}" y="{y}">{value:.1f} s</text>'
            ).format(
                x=LEFT - 8, y=y + 17, name=name, left=LEFT, top=y + 6, width=width, end=LEFT + width + 6, value=value
            )
        )
    return _svg(LEFT + WIDTH + 80, len(values) * ROW + 6, parts, "Seconds by phase")


def trend(points: Sequence[tuple[datetime, float, bool]], objective: float | None) -> Markup:
    """One column a drill, green or red, with the objective as a line."""
    most = max([value for _, value, _ in points] + ([objective] if objective else []), default=0.0) or 1.0
    step, height = 36, 140
    parts = []
    for index, (at, value, passed) in enumerate(points):
        tall = max(2.0, height * value / most)
        parts.append(
            Markup(
                '<rect class="{kind}" x="{x}" y="{y:.1f}" width="24" height="{tall:.1f}" rx="2">'
                "<title>{at:%Y-%m-%d %H:%M}Z: {value:.1f} s</title></rect>"
                '<text class="axis" x="{middle}" y="{base}" text-anchor="middle">{at:%m-%d}</text>'
            ).format(
                kind="bar" if passed else "bar failed",
                x=40 + index * step,
                y=10 + height - tall,
                tall=tall,
                at=at,
                value=value,
                middle=52 + index * step,
                base=height + 26,
            )
        )
    width = 60 + max(len(points), 8) * step
    if objective:
        y = 10 + height - height * objective / most
        parts.append(
            Markup(
                '<line class="objective" x1="36" x2="{x}" y1="{y:.1f}" y2="{y:.1f}"/>'
                '<text class="axis" x="0" y="{text:.1f}">{value:.0f} s</text>'
            ).format(x=width - 8, y=y, text=y + 4, value=objective)
        )
    return _svg(width, height + 36, parts, "Recovery time by drill")


def _svg(width: float, height: float, parts: Sequence[Markup], title: str) -> Markup:
    return Markup('<svg role="img" aria-label="{}" viewBox="0 0 {:.0f} {:.0f}" width="{:.0f}">{}</svg>').format(
        escape(title), width, height, width, Markup("").join(parts)
    )
