"""The table: everybody with everything, then the goals. As plain text, or as Markdown."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from benchmarks.contestants import BY_NAME, LEFT_OUT, Contestant
from benchmarks.figures import Figures, median, spread
from benchmarks.goals import Goal, goals
from benchmarks.plan import COLUMNS, Results

_MORE = (*("cost R", "cost W", "trips", "B each", "lost", "revived", "refused", "step", "cycles"),)
_NOISY = 0.15

_LEGEND = (
    "R0 … W 60K: requests a second through uvicorn with {connections} connections, as a share of"
    " Starlette without sessions; ± half the distance from the slowest to the fastest of"
    " {served_rounds} turns. R reads one attribute, W increments a counter, N makes a new session,"
    " R0 brings no cookie and wants no session; 200B, 4K, 60K: what the session holds.",
    "cost: microseconds of CPU that sessions add to R and W of 200 B in one process, over the same"
    " framework without (whose own are in brackets); {connections} requests at a time, WSGI one by"
    " one.",
    "trips: round trips to Redis for R / W. B each: bytes of memory for a session of 200 B.",
    "lost: of {written} attributes, each written by a request of its own that met others in the"
    " same session, those that are gone. revived: of {races} sessions, those that a slower"
    " request brought back after their logout.",
    "refused: of {crowd:,} requests at once, those that did not get their session, with the pool"
    " as it is by default.",
    "step: the longest step of the event loop with sessions of 60 KB, in milliseconds of CPU,"
    " without the collector. cycles: objects of a request that only the collector can free.",
)


def rows(figures: Figures) -> list[list[str]]:
    """Return the table's head and a row for each contestant."""
    table = [["", *map(_short, COLUMNS), *_MORE]]
    table += [
        [each.label, *_rates(figures, each), *_more(figures, each)]
        for each in figures.results.roster.present
        if each.everywhere or each.store == "none"
    ]
    skipped = figures.results.roster.skipped
    return table + [[BY_NAME[name].label, f"skipped: {skipped[name]}"] for name in skipped]


def _short(column: str) -> str:
    for size, told in (("small", "200B"), ("medium", "4K"), ("large", "60K")):
        column = column.replace(size, told)
    return column


def _rates(figures: Figures, contestant: Contestant) -> list[str]:
    cells = []
    for column in COLUMNS:
        rates = figures.rates(contestant.name, column)
        if not rates:
            cells.append("")
        elif contestant.name == "bare":
            cells.append(f"{median(rates) / 1000:.1f}k±{spread(rates):.0%}")
        else:
            cells.append(f"{figures.share(contestant.name, column):.2f}±{spread(rates):.0%}")
    return cells


def _more(figures: Figures, contestant: Contestant) -> list[str]:
    results, name = figures.results, contestant.name
    kept, held = results.kept.get(name), results.held.get(name)
    steps = results.steps.get(name, {})
    traffic = results.traffic.get(name)
    garbage = results.garbage.get(name)
    return [
        *(_cost(figures, contestant, column) for column in ("R small", "W small")),
        f"{traffic['read'].trips:g}/{traffic['write'].trips:g}" if traffic else "",
        f"{held.bytes:.0f}" if held else "",
        f"{kept.lost}/{kept.written}" if kept else "",
        f"{kept.revived}/{kept.ended}" if kept else "",
        f"{results.crowd[name][0]:,}" if name in results.crowd else "",
        f"{max(steps['/read'], steps['/write']):.1f}" if steps else "",
        f"{max(garbage.values()):g}" if garbage else "",
    ]


def _cost(figures: Figures, contestant: Contestant, column: str) -> str:
    name = contestant.name
    if math.isnan(figures.microseconds(name, column)):
        return ""
    wobble = figures.wobble(name, column)
    if contestant.store == "none":
        return f"({figures.microseconds(name, column):.0f}±{wobble:.0f})"
    return f"+{figures.cost(name, column):.1f}±{wobble:.1f}".replace("+-", "-")


def goal_rows(figures: Figures) -> list[list[str]]:
    """Return a row for each bound."""
    told = {True: "reached", False: "NOT REACHED", None: "?"}
    head = ["", "goal", "bound", "measured", ""]
    return [head, *([*_of(each), told[each.reached]] for each in goals(figures))]


def _of(goal: Goal) -> list[str]:
    return [str(goal.number), goal.what, goal.bound, goal.measured]


def more_lines(figures: Figures) -> list[str]:
    """Return what the table does not show: what was counted, held and compared."""
    results = figures.results
    lines = []
    for name, traffic in results.traffic.items():
        told = "; ".join(
            f"{step} {each.trips:g} trips, {each.commands:g} commands,"
            f" {each.sent:,.0f} B out, {each.received:,.0f} B in"
            for step, each in traffic.items()
            if each.trips
        )
        lines.append(f"{BY_NAME[name].label}: {told}")
    for name, held in results.held.items():
        freed = max(0.0, results.freed.get(name, math.nan))
        lines.append(
            f"{BY_NAME[name].label}: {held.bytes:.0f} B and {held.objects:.1f} objects that the"
            f" collector follows for a session; a full collection takes {held.pause:.0f} ms with"
            f" all of them, {held.pause_before:.0f} ms without;"
            f" {freed:.0%} of memory is free again after they expired"
        )
    for count, columns in sorted(results.growth.items()):
        told = ", ".join(
            f"{column} {median(e.cpu for e in rounds):.1f} µs" for column, rounds in columns.items()
        )
        lines.append(f"{BY_NAME['ours-memory'].label}, {count:,} sessions: {told}")
    if results.capacity:
        lines.append(
            f"The load generator alone: {results.capacity:,.0f} requests a second to a server in"
            " its own process that does no work."
        )
    return lines


def warnings(figures: Figures) -> list[str]:
    """Return what makes the figures doubtful."""
    results = figures.results
    found = [*figures.failures(), *results.notes]
    cells = [spread(figures.rates(name, column)) for name in results.served for column in COLUMNS]
    spreads = [each for each in cells if not math.isnan(each)]
    if spreads and median(spreads) > _NOISY:
        found.append(
            f"turns differ by ±{median(spreads):.0%} as a rule: the machine is busy with something"
            f" else (load {results.load:.1f} before); do not trust the absolute figures"
        )
    return found


def legend(results: Results) -> list[str]:
    """Return the explanation of the columns."""
    kept = next(iter(results.kept.values()), None)
    facts = {**vars(results.plan), "written": kept.written if kept else 0}
    return [each.format(**facts) for each in _LEGEND]


def as_text(figures: Figures) -> str:
    """Return everything for a terminal."""
    results = figures.results
    parts = [
        textwrap.fill("; ".join(f"{n} {v}" for n, v in results.versions.items()), 110),
        _aligned(rows(figures)),
        _aligned(goal_rows(figures), left=4),
        "\n".join(textwrap.fill(each, 110) for each in legend(results)),
        "\n".join(textwrap.fill(each, 110) for each in more_lines(figures)),
        "\n".join(f"left out: {name}: {reason}" for name, reason in LEFT_OUT.items()),
        "\n".join(f"WARNING: {each}" for each in warnings(figures)),
    ]
    return "\n\n".join(part for part in parts if part)


def as_markdown(figures: Figures) -> str:
    """Return everything for a page."""
    results = figures.results
    parts = [
        _table(rows(figures)),
        _table(goal_rows(figures)),
        *(f"- {each}" for each in legend(results)),
        "",
        *(f"- {each}" for each in more_lines(figures)),
        *(f"- Left out: {name}: {reason}." for name, reason in LEFT_OUT.items()),
        *(f"- **Doubtful:** {each}." for each in warnings(figures)),
        "",
        "Versions: " + ", ".join(f"{n} {v}" for n, v in results.versions.items()) + ".",
    ]
    return "\n".join(parts)


def _aligned(table: Sequence[Sequence[str]], left: int = 1) -> str:
    """Set in columns; a row of two cells, which tells a reason, has no part in their widths."""
    full = [row for row in table if len(row) > 2]
    widths = [max(map(len, column)) for column in zip(*full, strict=True)]
    lines = []
    for row in table:
        cells = [
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append("  ".join(cells if len(row) > 2 else [cells[0], row[1]]).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def _table(table: Sequence[Sequence[str]]) -> str:
    head, *body = table
    rest = [[*row, *[""] * (len(head) - len(row))] for row in body]
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rest)]
    return "\n".join([*lines, ""])
