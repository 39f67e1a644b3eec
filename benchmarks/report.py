"""The tables: everybody with everything, then the goals. As plain text, or as Markdown."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence

from benchmarks.contestants import BY_NAME, Contestant
from benchmarks.figures import Figures, median, spread
from benchmarks.goals import Goal, goals
from benchmarks.plan import COLUMNS, Results

Table = list[list[str]]

_MORE = ("cost R", "cost W", "trips", "B each", "lost", "revived", "refused", "step", "cycles")
_NOISY = 0.1

_LEGEND = {
    "R 200B": "R0 … W 60K, first table: requests a second through uvicorn with {connections}"
    " connections, as a share of the floor, which is Starlette without sessions that is sent and"
    " sends the same headers; ± half the distance between the quartiles. R reads one attribute, W"
    " increments a counter, N makes a new session, R0 brings no cookie and wants no session; 200B,"
    " 4K, 60K: what the session holds. Second table: microseconds of the server's CPU for a"
    " request, over the floor's, and times the floor's. Both: the median of {served_rounds}"
    " turns.",
    "cost R": "cost: microseconds of CPU that sessions add to R and W of 200 B in one process, over"
    " the same framework without (whose own are in brackets); {connections} requests at a time.",
    "trips": "trips: round trips to Redis for R / W.",
    "B each": "B each: bytes of memory for a session of 200 B.",
    "lost": "lost: of {written} attributes, each written by a request of its own that met others in"
    " the same session, those that are gone. revived: of {races} sessions, those that a slower"
    " request brought back after their logout.",
    "refused": "refused: of {crowd:,} requests at once, those that did not get their session, with"
    " the pool as it is by default.",
    "step": "step: the longest step of the event loop with sessions of 60 KB, in milliseconds of"
    " CPU, without the collector.",
    "cycles": "cycles: objects of a request that only the collector can free.",
}


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
        [*_of(each), told[each.reached]]
        for each in goals(figures)
        if each.measured or not figures.results.partial
    ]
    return [["", "goal", "bound", "measured", ""], *rows]


def _of(goal: Goal) -> list[str]:
    return [str(goal.number), goal.what, goal.bound, goal.measured or "not measured"]


def _more_lines(figures: Figures) -> list[str]:
    """Return what the tables do not show: who is missing, what was counted, held, compared."""
    results = figures.results
    lines = [
        f"{BY_NAME[name].label}: skipped: {why}" for name, why in results.roster.skipped.items()
    ]
    for name, traffic in results.traffic.items():
        told = "; ".join(
            f"{step} {each.trips:g} trips,"
            f"{f' {each.commands:g} commands,' if each.commands else ''}"
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


def _legend(results: Results, columns: Sequence[str]) -> list[str]:
    """Return the explanation of these columns."""
    kept = next(iter(results.kept.values()), None)
    facts = {**vars(results.plan), "written": kept.written if kept else 0}
    return [text.format(**facts) for column, text in _LEGEND.items() if column in columns]


def as_text(figures: Figures) -> str:
    """Return everything for a terminal."""
    results, tables = figures.results, _tables(figures)
    parts = [
        textwrap.fill("; ".join(f"{n} {v}" for n, v in results.versions.items()), 110),
        *map(_aligned, tables),
        "\n".join(textwrap.fill(each, 110) for each in _legend(results, tables[0][0])),
        "\n".join(textwrap.fill(each, 110) for each in _more_lines(figures)),
        "\n".join(f"WARNING: {each}" for each in _warnings(figures)),
    ]
    return "\n\n".join(part for part in parts if part)


def as_markdown(figures: Figures) -> str:
    """Return everything for a page."""
    results, tables = figures.results, _tables(figures)
    parts = [
        *map(_table, tables),
        *(f"- {each}" for each in _legend(results, tables[0][0])),
        "",
        *(f"- {each}" for each in _more_lines(figures)),
        *(f"- **Doubtful:** {each}." for each in _warnings(figures)),
        "",
        "Versions: " + ", ".join(f"{n} {v}" for n, v in results.versions.items()) + ".",
    ]
    return "\n".join(parts)


def _aligned(table: Table) -> str:
    left = 4 if table[0][1] == "goal" else 1
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def _table(table: Table) -> str:
    head, *body = table
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body)]
    return "\n".join([*lines, ""])
