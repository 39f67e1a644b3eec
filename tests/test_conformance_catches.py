"""The published contract notices each promise that is broken, and says which one it is.

The contract runs as in a project of somebody else: no configuration, no fixtures of ours.
"""

import inspect
from collections.abc import Iterator
from types import ModuleType

import pytest

from pyfly_session.testing import SessionStoreContract
from tests.broken import capabilities, records, renaming, scanning, verbs
from tests.broken.sound import CapableSoundStore, SoundStore
from tests.support.cases import for_each

_MODULE = """
from contextlib import asynccontextmanager

import pytest

from pyfly_session.testing import SessionStoreContract
from tests.test_conformance_catches import STORES, TESTS


class Contract(SessionStoreContract):
    kind = None

    @pytest.fixture
    def store(self, clock):
        return self.kind(clock)

    @asynccontextmanager
    async def break_backend(self, store):
        store.fault = OSError("no route to host")
        yield


for _kind in STORES:
    _name = "Test" + _kind.__name__
    _others = TESTS.difference(_kind.caught_by or TESTS)
    globals()[_name] = type(_name, (Contract,), {"kind": _kind, **dict.fromkeys(_others)})
"""


def _stores_of(module: ModuleType) -> Iterator[type[SoundStore]]:
    for each in vars(module).values():
        if (
            isinstance(each, type)
            and issubclass(each, SoundStore)
            and each.__module__ == module.__name__
        ):
            yield each


_MODULES = (verbs, records, capabilities, renaming, scanning)
BROKEN = [each for module in _MODULES for each in _stores_of(module)]
TESTS = frozenset(name for name in dir(SessionStoreContract) if name.startswith("test_"))
STORES = [SoundStore, CapableSoundStore, *BROKEN]


class Reports:
    """Collects what became of each test."""

    def __init__(self) -> None:
        self.failures: dict[tuple[str, str], str] = {}
        self.outcomes: dict[str, set[str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.passed:
            return
        _, store, test = report.nodeid.split("::")
        store, test = store.removeprefix("Test"), test.partition("[")[0]
        self.outcomes.setdefault(store, set()).add(report.outcome)
        if report.failed:
            self.failures[store, test] = str(getattr(report.longrepr, "reprcrash", "")) + str(
                report.longrepr
            )


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """Run the contract once, on every broken store the tests that shall catch it."""
    folder = tmp_path_factory.mktemp("somebody-else")
    path = folder / "test_stores.py"
    path.write_text(_MODULE, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    found = Reports()
    options = ["-q", "--no-header", "--no-summary", "--show-capture=no", "--tb=no"]
    plugins = ["-p", "no:cacheprovider", "-p", "no:timeout", "-p", "no:xdist"]
    pytest.main([*options, *plugins, "-c", str(folder / "pytest.ini"), str(path)], plugins=[found])
    return found


@pytest.mark.parametrize("kind", [SoundStore, CapableSoundStore])
def test_a_sound_store_passes(reports: Reports, kind: type[SoundStore]) -> None:
    expected = {"passed"} if kind is CapableSoundStore else {"passed", "skipped"}
    assert reports.outcomes[kind.__name__] == expected


@for_each("kind", BROKEN)
def test_a_broken_promise_is_noticed_and_named(reports: Reports, kind: type[SoundStore]) -> None:
    for test in kind.caught_by:
        message = reports.failures[kind.__name__, test]
        assert f"{kind.__name__} breaks a promise." in message, test
        promise = inspect.cleandoc(getattr(SessionStoreContract, test).__doc__)
        assert f"Promise: {promise.splitlines()[0]}" in message
        assert kind.promise in message
        assert f"Mend:    {kind.__name__}" in message


def test_every_test_of_the_contract_catches_some_store() -> None:
    assert {test for kind in BROKEN for test in kind.caught_by} == TESTS


def test_every_broken_store_is_caught() -> None:
    assert [kind.__name__ for kind in BROKEN if not kind.caught_by] == []
