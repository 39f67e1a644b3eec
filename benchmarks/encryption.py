"""What encryption costs: microseconds to read one session, and ratios to that of plain JSON."""

from __future__ import annotations

import timeit
from collections.abc import Callable
from functools import partial

from cryptography.fernet import Fernet

from pyfly_session.core.codec import SessionCodec
from pyfly_session.core.encryption import EncryptedSessionCodec


def main() -> None:
    former, key = Fernet.generate_key(), Fernet.generate_key()
    plain, both = SessionCodec(), EncryptedSessionCodec([key, former])
    print("bytes  stored   read   encrypted  second key   write  encrypted")
    for size in (200, 4096, 61440):
        data = {f"attribute-{n}": "x" * 40 for n in range(size // 60)}
        payload, token = plain.dumps(data), both.dumps(data)
        old = EncryptedSessionCodec([former]).dumps(data)
        number = max(20, 400_000 // size)

        def took(call: Callable[[], object], number: int = number) -> float:
            """Return the microseconds of one call, the best of several rounds."""
            return min(timeit.repeat(call, number=number, repeat=9)) / number * 1e6

        base = took(partial(plain.split, payload))
        reads = [took(partial(both.split, each)) / base for each in (token, old)]
        writes = [took(partial(each.join, plain.split(payload))) / base for each in (plain, both)]
        print(
            f"{len(payload):>5}  {len(token) / len(payload):>6.2f}  {base:>5.1f}"
            f"  {reads[0]:>9.1f}x  {reads[1]:>9.1f}x  {writes[0]:>5.1f}x  {writes[1]:>8.1f}x"
        )


if __name__ == "__main__":
    main()
