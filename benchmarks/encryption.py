"""What encryption and hashed ids cost: microseconds for one session, and ratios to plain JSON."""

from __future__ import annotations

import hashlib
import timeit
from collections.abc import Callable

from cryptography.fernet import Fernet

from pyfly_session.core.codec import SessionCodec
from pyfly_session.core.encryption import EncryptedSessionCodec

FORMER, KEY = Fernet.generate_key(), Fernet.generate_key()


def microseconds(call: Callable[[], object], number: int) -> float:
    """Return the time of one call, the best of several rounds."""
    return min(timeit.repeat(call, number=number, repeat=9)) / number * 1e6


def main() -> None:
    plain, former = SessionCodec(), EncryptedSessionCodec([FORMER])
    both = EncryptedSessionCodec([KEY, FORMER])
    print("bytes  stored   read   encrypted  second key   write  encrypted")
    for size in (200, 4096, 61440):
        data = {f"attribute-{n}": "x" * 40 for n in range(size // 60)}
        payload, token, old = plain.dumps(data), both.dumps(data), former.dumps(data)
        parts = plain.split(payload)
        number = max(20, 400_000 // size)
        base = microseconds(lambda: plain.split(payload), number)  # noqa: B023 - used at once
        times = [
            microseconds(call, number) / base
            for call in (
                lambda: both.split(token),  # noqa: B023
                lambda: both.split(old),  # noqa: B023
                lambda: plain.join(parts),  # noqa: B023
                lambda: both.join(parts),  # noqa: B023
            )
        ]
        print(
            f"{len(payload):>5}  {len(token) / len(payload):>6.2f}  {base:>5.1f}"
            f"  {times[0]:>9.1f}x  {times[1]:>9.1f}x  {times[2]:>5.1f}x  {times[3]:>8.1f}x"
        )
    session_id = "a" * 32
    hashing = microseconds(lambda: hashlib.sha256(session_id.encode()).hexdigest(), 10_000)
    print(f"hash of an id: {hashing:.1f} microseconds")


if __name__ == "__main__":
    main()
