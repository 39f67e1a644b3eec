"""The benchmark still runs: a smoke test's worth of it, which measures nothing to rely on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

# Each starts some processes, which takes long on a machine that is busy with something else.
pytestmark = pytest.mark.timeout(240)


def run(*options: str) -> subprocess.CompletedProcess[str]:
    """Run the benchmark as a user would."""
    return subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", "benchmarks", "--smoke", *options],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def lines_of(done: subprocess.CompletedProcess[str], start: str) -> list[str]:
    """Return the printed lines that start so, if the run went well."""
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stdout, done.stdout
    found = [each for each in done.stdout.splitlines() if each.startswith(start)]
    assert found, done.stdout
    return found


def test_counted_goals_are_reached_and_written_to_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "before\n<!-- measured: begin -->\nstale\n<!-- measured: end -->\nafter\n", "utf-8"
    )
    done = run("--only", "ours-redis", "--parts", "counted", "--page", str(page))
    # These are exact, however busy the machine is.
    goals = lines_of(done, "3  ")
    assert len(goals) == 6
    assert all(each.endswith(" reached") and "NOT" not in each for each in goals), goals
    written = page.read_text("utf-8")
    assert written.startswith("before\n")
    assert written.endswith("after\n")
    assert "stale" not in written
    assert "| pyfly_session, Redis |" in written


def test_sites_over_memory_are_called_raced_served_and_watched() -> None:
    done = run("--only", "ours-memory", "--parts", "in-process,served,steps")
    shares, _ = lines_of(done, "pyfly_session, memory ")
    assert (*shares.split()[-4:-2], shares.split()[-1]) == ("0/8", "0/1", "0")  # the step is not 0
    # A floor that does not send as many bytes as ours would be a warning.
    rates, cpu = lines_of(done, "no sessions, same headers")
    assert rates.count("k±") == 8
    assert len(cpu.split("floor")[1].split()) == 8
    assert len(lines_of(done, "1  ")) == 8
    assert "sessions expire" in lines_of(done, "8  ")[-1]


def test_writers_meet_and_imports_are_timed() -> None:
    done = run("--only", "ours-memory,ours-redis", "--parts", "writers,imports")
    swaps, _, lost, *_ = lines_of(done, "4  ")
    assert "swaps" in swaps
    assert lost.endswith(" reached")
    assert "NOT" not in lost
    assert len(lines_of(done, "9  ")) == 1


def test_the_store_alone_is_given_more_than_a_slow_server_can_carry() -> None:
    done = run("--only", "ours-redis", "--parts", "overload")
    assert len(lines_of(done, "3  ")) == 4
    assert len(lines_of(done, "5  ")) == 3


def test_an_unknown_contestant_is_refused_by_name() -> None:
    done = run("--only", "django-rest")
    assert done.returncode == 1
    assert "no contestant is called django-rest; there are bare, floor," in done.stderr


def test_the_stress_test_runs_in_several_processes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.stress", "--quick", "--only", "increments"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("every promise held\n")
