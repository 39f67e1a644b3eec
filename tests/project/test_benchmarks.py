"""The benchmark still runs: a smoke test's worth of it, which measures nothing to rely on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import correctness, memory, pauses
from benchmarks.client import Site
from benchmarks.contestants import BY_NAME, roster

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
    """Return a page that one run of what needs several processes has put its tables on."""
    page = tmp_path_factory.mktemp("page") / "page.md"
    page.write_text(
        "before\n<!-- measured: begin -->\nstale\n<!-- measured: end -->\nafter\n", "utf-8"
    )
    parts = "in-process,served,counted,writers,overload,imports"
    options = ("--smoke", "--only", "ours-memory,ours-redis", "--parts", parts)
    done = run("benchmarks", *options, "--page", str(page))
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
    lost, revived, cycles = shares[-3:]
    assert (lost, revived, cycles) == ("0/8", "0/1", "0")
    assert len([each for each in cpu if "x" in each]) == 8
    # A floor that does not send as many bytes as ours would be doubtful.
    rates, _ = rows(page, "no sessions, same headers: the floor")
    assert len([each for each in rates if "k±" in each]) == 8
    assert not [each for each in page.splitlines() if "not measured" in each]


def test_every_goal_is_in_the_table(page: str) -> None:
    # All that concern neither memory nor Redis alone need both, which are there.
    counts = {number: len(rows(page, str(number))) for number in (1, 2, 3, 4, 5, 9)}
    assert counts == {1: 8, 2: 2, 3: 10, 4: 6, 5: 3, 9: 1}


async def test_sessions_are_weighed_and_steps_watched() -> None:
    contestant = BY_NAME["ours-memory"]
    site = Site(contestant, contestant.build(""))
    held = await memory.held(site, 50)
    assert held.pause > 0
    assert 0 <= held.objects < 50
    assert await pauses.longest_step(site, "/write", "large", 2, 0.01) > 0
    assert await correctness.crowd(site, 60) == 0


def test_an_unknown_contestant_is_refused_by_name() -> None:
    with pytest.raises(SystemExit, match="no contestant is called django-rest; there are bare,"):
        roster({"django-rest"})


def test_the_stress_test_runs_in_several_processes() -> None:
    done = run("benchmarks.stress", "--count", "40", "--only", "increments, SQLite")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("every promise held\n")
