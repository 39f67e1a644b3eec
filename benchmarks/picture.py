"""The picture of the documentation: throughput as a share of the floor."""

from __future__ import annotations

import math
from pathlib import Path

from benchmarks.figures import Figures

# Both can be read on white and on black.
_INK = "#7d8590"
_OURS, _THEIRS = "#2f81f7", "#9a8c7c"
_KINDS = {"R small": ("o", "reads one attribute"), "W small": ("D", "increments a counter")}


def draw(figures: Figures, path: Path) -> None:
    """Write the picture as SVG.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt
    from matplotlib.lines import Line2D

    for name in ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"):
        mpl.rcParams[name] = _INK
    mpl.rcParams["svg.fonttype"] = "none"  # text stays text
    mpl.rcParams["svg.hashsalt"] = "the same picture of the same figures"
    present = [
        each
        for each in figures.results.roster.of("cookie", "memory", "redis", "sql")
        if not math.isnan(figures.share(each.name, "R small"))
    ]
    figure, axes = plt.subplots(figsize=(8, 0.42 * len(present) + 1.3))
    for row, each in enumerate(reversed(present)):
        color = _OURS if each.ours else _THEIRS
        shares = [figures.share(each.name, column) for column in _KINDS]
        axes.plot(shares, [row] * len(shares), color=color, linewidth=2, alpha=0.5)
        for share, (marker, _) in zip(shares, _KINDS.values(), strict=True):
            axes.plot(share, row, marker=marker, color=color, markersize=8)
    axes.set_yticks(range(len(present)), [each.label for each in reversed(present)])
    axes.set_xlim(0, max(1.02, axes.get_xlim()[1]))
    axes.axvline(1, color=_INK, linewidth=1)  # without sessions
    axes.set_xlabel(
        "requests a second as a share of a site that only sends the same headers, 200 B"
    )
    axes.grid(axis="x", color=_INK, alpha=0.25)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    handles = [
        Line2D([], [], marker=marker, linestyle="", color=_INK, label=label)
        for marker, label in _KINDS.values()
    ]
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=len(handles),
        frameon=False,
        labelcolor=_INK,
    )
    figure.tight_layout()
    figure.savefig(path, transparent=True, metadata={"Date": None})
    plt.close(figure)
