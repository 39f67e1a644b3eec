"""The benchmark still runs: a smoke test's worth of it, which measures nothing to rely on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.contestants import roster

ROOT = Path(__file__).parent.parent.parent

# Each starts some processes, which takes long on a machine that is busy with something else.
pytestmark = pytest.mark.timeout(240)


def run(module: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a module as a user would."""
    return subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", module, *options],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a page that one run of everything has put its tables on."""
    page = tmp_path_factory.mktemp("page") / "page.md"
    page.write_text(
        "before\n<!-- measured: begin -->\nstale\n<!-- measured: end -->\nafter\n", "utf-8"
    )
    done = run("benchmarks", "--smoke", "--only", "ours-memory,ours-redis", "--page", str(page))
    assert done.returncode == 0, done.stderr
    return page.read_text("utf-8")


def rows(page: str, start: str) -> list[list[str]]:
    """Return the cells of the rows that start so."""
    found = [each for each in page.splitlines() if each.startswith(f"| {start} ")]
    assert found, page
    return [[cell.strip() for cell in each.split("|")[2:-1]] for each in found]


def test_the_tables_are_put_between_the_marks_of_a_page(page: str) -> None:
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert "stale" not in page
    assert "Doubtful" not in page, page


def test_counted_goals_are_reached(page: str) -> None:
    # These are exact, however busy the machine is.
    trips, writers = rows(page, "3"), rows(page, "4")
    assert {each[-1] for each in trips[:6]} == {"reached"}
    counted = [each for each in writers if each[0].endswith((": swaps", ": lost"))]
    assert len(counted) == 4
    assert {each[-1] for each in counted} == {"reached"}


def test_sites_are_called_raced_and_served(page: str) -> None:
    shares, cpu = rows(page, "pyfly_session, memory")
    lost, revived, refused, _, cycles = shares[-5:]
    assert (lost, revived, refused, cycles) == ("0/8", "0/1", "", "0")
    assert len([each for each in cpu if "x" in each]) == 8
    # A floor that does not send as many bytes as ours would be doubtful.
    rates, _ = rows(page, "no sessions, same headers: the floor")
    assert len([each for each in rates if "k±" in each]) == 8
    assert not [each for each in page.splitlines() if "not measured" in each]


def test_every_goal_is_in_the_table(page: str) -> None:
    # All that concern neither memory nor Redis alone need both, which are there.
    counts = [len(rows(page, str(number))) for number in range(1, 10)]
    assert counts == [8, 2, 10, 6, 3, 2, 4, 3, 1]


def test_an_unknown_contestant_is_refused_by_name() -> None:
    with pytest.raises(SystemExit, match="no contestant is called django-rest; there are bare,"):
        roster({"django-rest"})


def test_the_stress_test_runs_in_several_processes() -> None:
    done = run("benchmarks.stress", "--count", "40", "--only", "increments, SQLite")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("every promise held\n")
