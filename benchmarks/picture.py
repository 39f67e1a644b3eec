"""The picture of the documentation: throughput as a share of the floor."""

from __future__ import annotations

import math
from pathlib import Path

from benchmarks.figures import Figures

# All can be read on white and on black.
_INK, _OURS, _THEIRS = "#7d8590", "#2f81f7", "#9a8c7c"
_LEFT, _WIDE, _ROW = 270, 500, 26
_TITLE = "requests a second as a share of a site that only sends the same headers, 200 B"
_LEGEND = "● reads one attribute   ◆ increments a counter"


def draw(figures: Figures, path: Path) -> None:
    """Write the picture as SVG."""
    everybody = figures.results.roster.of("cookie", "memory", "redis", "sql")
    rows = [each for each in everybody if not math.isnan(figures.share(each.name, "R small"))]
    bottom = _ROW * (len(rows) + 1.5)
    parts = [_text(_LEFT, 16, _LEGEND, "start"), _text(_LEFT, bottom + 38, _TITLE, "start")]
    for tenth in range(0, 11, 2):
        x = _LEFT + _WIDE * tenth / 10
        parts.append(f'<path d="M{x} {_ROW}V{bottom}" stroke="{_INK}" opacity=".4"/>')
        parts.append(_text(x, bottom + 16, f"{tenth / 10:.1f}", "middle"))
    for row, each in enumerate(rows):
        y, color = _ROW * (row + 2), _OURS if each.ours else _THEIRS
        read, write = (_LEFT + _WIDE * figures.share(each.name, f"{k} small") for k in "RW")
        parts += [
            _text(_LEFT - 10, y + 4, each.label, "end"),
            f'<path d="M{read:.0f} {y}H{write:.0f}" stroke="{color}" opacity=".5"/>',
            f'<circle cx="{read:.0f}" cy="{y}" r="5" fill="{color}"/>',
            f'<path d="m{write:.0f} {y - 6} 6 6-6 6-6-6z" fill="{color}"/>',
        ]
    size = f'viewBox="0 0 {_LEFT + _WIDE + 20} {bottom + 46}" font-family="sans-serif"'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-size="13">'
    path.write_text("\n".join([svg, *parts, "</svg>"]) + "\n", "utf-8")


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" fill="{_INK}" text-anchor="{anchor}">{text}</text>'
