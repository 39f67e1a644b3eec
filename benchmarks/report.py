"""The tables: everybody with everything, then the goals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from benchmarks.contestants import BY_NAME, Contestant
from benchmarks.figures import Figures, median, spread
from benchmarks.goals import goals
from benchmarks.plan import COLUMNS

Table = list[list[str]]

_MORE = ("cost R", "cost W", "trips", "B each", "lost", "revived", "refused", "step", "cycles")
_NOISY = 0.1


def _tables(figures: Figures) -> list[Table]:
    """Return those of the contestants that have a figure in them, and the goals."""
    tables = [
        _of_everybody(figures, "", (*COLUMNS, *_MORE), _speed_and_more),
        _of_everybody(figures, "µs of server CPU", tuple(COLUMNS), _server_cpu),
    ]
    found = [table for table in tables if len(table[0]) > 1]
    return [*found, _goal_rows(figures)]


def _of_everybody(
    figures: Figures,
    head: str,
    columns: Sequence[str],
    cells: Callable[[Figures, Contestant], list[str]],
) -> Table:
    """Return a row for each contestant that was measured, and the columns that are not empty."""
    rows = [[each.label, *cells(figures, each)] for each in figures.results.roster.present]
    rows = [row for row in rows if any(row[1:])]
    table = [[head, *map(_short, columns)], *rows]
    full = [index for index in range(len(table[0])) if not index or any(r[index] for r in rows)]
    return [[row[index] for index in full] for row in table]


def _short(column: str) -> str:
    for size, told in (("small", "200B"), ("medium", "4K"), ("large", "60K")):
        column = column.replace(size, told)
    return column


def _speed_and_more(figures: Figures, contestant: Contestant) -> list[str]:
    results, name = figures.results, contestant.name
    kept, held = results.kept.get(name), results.held.get(name)
    steps = results.steps.get(name, {})
    traffic = results.traffic.get(name)
    garbage = results.garbage.get(name)
    return [
        *(_rate(figures, name, column) for column in COLUMNS),
        *(_cost(figures, contestant, column) for column in ("R small", "W small")),
        f"{traffic['read'].trips:g}/{traffic['write'].trips:g}" if traffic else "",
        f"{held.bytes:.0f}" if held else "",
        f"{kept.lost}/{kept.written}" if kept else "",
        f"{kept.revived}/{kept.ended}" if kept else "",
        f"{results.crowd[name][0]:,}" if name in results.crowd else "",
        f"{max(steps['/read'], steps['/write']):.1f}" if steps else "",
        f"{max(garbage.values()):g}" if garbage else "",
    ]


def _rate(figures: Figures, name: str, column: str) -> str:
    rates = figures.served.values(name, column, "rate")
    if not rates:
        return ""
    if name == "floor":
        return f"{median(rates) / 1000:.1f}k±{spread(rates):.0%}"
    return f"{figures.share(name, column):.2f}±{spread(rates):.0%}"


def _server_cpu(figures: Figures, contestant: Contestant) -> list[str]:
    name, served = contestant.name, figures.served
    if name == "floor":
        return [_known(served.median(name, column), ".1f") for column in COLUMNS]
    return [
        _known(served.more(name, column, "floor"), "+.1f")
        + _known(served.times(name, column, "floor"), ".2f", lead=" x")
        for column in COLUMNS
    ]


def _cost(figures: Figures, contestant: Contestant, column: str) -> str:
    name, turns = contestant.name, figures.inprocess
    own = turns.median(name, column)
    wobble = spread(turns.values(name, column)) * own
    if contestant.store == "none":
        return "" if math.isnan(own) else f"({own:.0f}±{wobble:.0f})"
    return _known(turns.more(name, column, contestant.bare), "+.1f", f"±{wobble:.1f}")


def _known(value: float, form: str, unit: str = "", lead: str = "") -> str:
    return "" if math.isnan(value) else f"{lead}{value:{form}}{unit}"


def _goal_rows(figures: Figures) -> Table:
    """Return a row for each bound; where only parts were wanted, for those that were measured."""
    told = {True: "reached", False: "NOT REACHED", None: "?"}
    rows = [
        [str(g.number), g.what, g.bound, g.measured or "not measured", told[g.reached]]
        for g in goals(figures)
        if g.measured or not figures.results.partial
    ]
    return [["", "goal", "bound", "measured", ""], *rows]


def _more_lines(figures: Figures) -> list[str]:
    """Return what the tables do not show: who is missing, what was counted, held, compared."""
    results = figures.results
    lines = [
        f"{BY_NAME[name].label}: skipped: {why}" for name, why in results.roster.skipped.items()
    ]
    for name, traffic in results.traffic.items():
        told = "; ".join(
            f"{step} {each.trips:g} trips, {each.sent:,.0f} B out, {each.received:,.0f} B in"
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
    if results.capacity:
        lines.append(
            f"The load generator alone: {results.capacity:,.0f} requests a second to a server in"
            " its own process that does no work."
        )
    return lines


def _warnings(figures: Figures) -> list[str]:
    """Return what makes the figures doubtful."""
    results = figures.results
    found = [*figures.failures(), *results.notes]
    cells = [
        spread(figures.served.values(name, column)) for name in results.served for column in COLUMNS
    ]
    for column in COLUMNS:
        floor, ours = (
            figures.served.values(name, column, "answer") for name in ("floor", "ours-memory")
        )
        if floor and ours and floor[-1] != ours[-1]:
            found.append(
                f"{_short(column)}: the floor answers {floor[-1]} bytes, ours {ours[-1]}:"
                " it is no floor any more"
            )
    spreads = [each for each in cells if not math.isnan(each)]
    if spreads and median(spreads) > _NOISY:
        found.append(
            f"turns differ by ±{median(spreads):.0%} as a rule: the machine is busy with something"
            f" else (load {results.load:.1f} before); do not trust the absolute figures"
        )
    return found


def as_markdown(figures: Figures) -> str:
    """Return everything, for a terminal or a page."""
    results, tables = figures.results, _tables(figures)
    parts = [
        *map(_table, tables),
        "The columns are explained in `benchmarks/README.md`; the figures are medians of turns.\n",
        *(f"- {each}" for each in _more_lines(figures)),
        *(f"- **Doubtful:** {each}." for each in _warnings(figures)),
        "",
        "Versions: " + ", ".join(f"{n} {v}" for n, v in results.versions.items()) + ".",
    ]
    return "\n".join(parts)


def _table(table: Table) -> str:
    """Return it as Markdown that can be read in a terminal, too."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    head, *body = (
        [cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in table
    )
    rows = [head, ["-" * max(width, 3) for width in widths], *body]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"
