"""`SessionStoreContract`: all that the library relies on in a store, as tests to inherit."""

from __future__ import annotations

from pyfly_session.testing.contract.atomicity import Atomicity
from pyfly_session.testing.contract.capabilities import Capabilities
from pyfly_session.testing.contract.concurrent_requests import ConcurrentRequests
from pyfly_session.testing.contract.expiry import Expiry
from pyfly_session.testing.contract.failures import Failures
from pyfly_session.testing.contract.identity import Identity
from pyfly_session.testing.contract.interruptions import Interruptions
from pyfly_session.testing.contract.records import Records
from pyfly_session.testing.contract.renaming import Renaming
from pyfly_session.testing.contract.rotations import Rotations
from pyfly_session.testing.contract.scanning import Scanning
from pyfly_session.testing.contract.verbs import FourVerbs


# pytest runs the tests of the last base first: the simple promises before those made of them.
class SessionStoreContract(
    Failures,
    Interruptions,
    Identity,
    Rotations,
    ConcurrentRequests,
    Atomicity,
    Scanning,
    Renaming,
    Capabilities,
    Records,
    Expiry,
    FourVerbs,
):
    """The tests of a session store. Subclass it, give it a fixture ``store``, run pytest.

    The fixture returns or yields a fresh, empty store for each test; it may be a coroutine.
    Capabilities are found out, as the library does it; tests of those that the store does not
    have are skipped::

        class TestMyStore(SessionStoreContract):
            @pytest.fixture
            def store(self, clock):
                return MyStore(clock=clock)

    Time: a store that takes a clock, a callable like ``time.time``, gets the fixture ``clock``,
    and the tests move it. If its time is moved in another way, override `advance`. Without
    either, the tests of time wait, about 25 seconds in all, and one is skipped.

    Errors: override `break_backend` with an ``asynccontextmanager`` within which the backend
    fails. Without it, errors are not tested, and a skip says so.

    A failing test tells the promise that was broken, what was found, and the method to mend.
    """
