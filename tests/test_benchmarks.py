"""The benchmark still runs: a smoke test's worth of it, which measures nothing to rely on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run(*options: str) -> subprocess.CompletedProcess[str]:
    """Run the benchmark as a user would."""
    return subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", "benchmarks", "--smoke", *options],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_it_calls_and_counts_and_tells_which_goals_are_reached(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "before\n<!-- measured: begin -->\nstale\n<!-- measured: end -->\nafter\n", "utf-8"
    )
    done = run("--only", "ours-redis", "--parts", "in-process,counted", "--page", str(page))
    assert done.returncode == 0, done.stderr
    [ours] = [each for each in done.stdout.splitlines() if each.startswith("pyfly_session, Redis ")]
    assert ours.split()[-4:] == ["1/2", "0/8", "0/1", "0"], done.stdout  # trips, lost, revived
    rows = [each.split() for each in done.stdout.splitlines() if each.startswith("3  ")]
    # These are counted, and so exact, however busy the machine is.
    assert len(rows) == 6
    assert all(row[-1] == "reached" and "NOT" not in row for row in rows), done.stdout
    assert "WARNING" not in done.stdout
    written = page.read_text("utf-8")
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert "stale" not in written
    assert "| pyfly_session, Redis |" in written


def test_it_sends_load_to_a_server() -> None:
    done = run("--only", "bare", "--parts", "served")
    assert done.returncode == 0, done.stderr
    [bare] = [each for each in done.stdout.splitlines() if each.startswith("no sessions")]
    assert bare.count("k±") == 8, done.stdout
    assert "WARNING" not in done.stdout


def test_it_watches_the_event_loop() -> None:
    done = run("--only", "ours-memory", "--parts", "steps")
    assert done.returncode == 0, done.stderr
    goals = [each for each in done.stdout.splitlines() if each.startswith("7  ")]
    assert "sessions expire" in goals[-1]
    assert "not measured" not in goals[-1]
    assert "WARNING" not in done.stdout


def test_an_unknown_contestant_is_refused_by_name() -> None:
    done = run("--only", "django-rest")
    assert done.returncode == 1
    assert "no contestant is called django-rest; there are bare, cookie," in done.stderr
