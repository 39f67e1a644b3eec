"""Short names of what tests are often given."""

import pytest

Log = pytest.LogCaptureFixture
Patch = pytest.MonkeyPatch
