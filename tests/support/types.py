"""Short names of what tests are often given."""

from __future__ import annotations

import pytest

Log = pytest.LogCaptureFixture
Patch = pytest.MonkeyPatch
