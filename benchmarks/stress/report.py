"""What came out of a scenario, and the table of all."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

_HEADERS = {
    "scenario": "scenario",
    "tried": "tried",
    "acknowledged": "acknowledged",
    "failed": "failed (5xx)",
    "lost": "lost",
    "leaked": "leaked",
    "revived": "revived",
    "late": "late",
    "slowest": "slowest s",
    "seconds": "seconds",
}


@dataclass
class Tally:
    """Counts of requests, added up over tasks and processes.

    Attributes:
        tried: Requests, or races, that were begun.
        acknowledged: Those that were answered 2xx.
        failed: Those that were answered 5xx.
        late: Those whose answer came after the deadline.
        slowest: Seconds of the slowest answer.
        odd: What ended in any other way, in words.
    """

    tried: int = 0
    acknowledged: int = 0
    failed: int = 0
    late: int = 0
    slowest: float = 0.0
    odd: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add the counts of another one."""
        self.tried += other.tried
        self.acknowledged += other.acknowledged
        self.failed += other.failed
        self.late += other.late
        self.slowest = max(self.slowest, other.slowest)
        self.odd += other.odd


@dataclass
class Result(Tally):
    """A scenario's line in the table.

    Attributes:
        lost: Acknowledged writes and logins that are gone.
        leaked: Ids, or data, that the wrong client was told.
        revived: Sessions, or former ids, that live although they should not.
        notes: What a number needs to be understood.
    """

    scenario: str = ""
    lost: int = 0
    leaked: int = 0
    revived: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        """True if every promise held, and there was something to hold."""
        broken = self.lost or self.leaked or self.revived or self.late or self.odd
        return not broken and self.acknowledged > 0


def table(results: list[Result]) -> str:
    """Return all results, one line each, and their notes."""
    rows = [list(_HEADERS.values())]
    rows += [[_cell(getattr(each, name)) for name in _HEADERS] for each in results]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    lines.insert(1, "-" * len(lines[0]))
    for each in results:
        lines += [f"{each.scenario}: {note}" for note in each.notes]
        # One example of each kind.
        examples = {what.partition(" [")[0]: what for what in sorted(set(each.odd))}
        lines += [f"{each.scenario}: BROKEN: {what}" for what in [*examples.values()][:5]]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


assert set(_HEADERS) <= {each.name for each in fields(Result)}
