"""Sessions encrypted at rest: a codec whose stored form only the holders of a key can read."""

from __future__ import annotations

from collections.abc import Iterable

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from pyfly_session.core.codec import Parts, Raw, SessionCodec
from pyfly_session.errors import ConfigurationError, SessionDecodingError

_KEY = "pyfly.session.encryption.keys"


class EncryptedSessionCodec(SessionCodec):
    """Encrypts the whole stored form with the first key, and reads it with any of them.

    To change keys, put the new one in front, and remove the last one when every session
    written with it has ended. Each write encrypts with the first key.

    The stored form is a Fernet token instead of a JSON object: authenticated, and about a
    third larger than the JSON. Neither the original nor a node without the keys can read it.

    Args:
        keys: Fernet keys, 32 bytes as URL-safe base64; ``Fernet.generate_key()`` makes one.
        types: As for `SessionCodec`.
        accept_plain: Read sessions that were stored before encryption was switched on. Until
            it is false, whoever can write to the store can put a session of his own there.

    Source: https://github.com/fernet/spec
    """

    deterministic = False

    def __init__(
        self, keys: Iterable[str | bytes], types: Iterable[type] = (), *, accept_plain: bool = False
    ) -> None:
        super().__init__(types)
        ciphers = [_cipher(key, index) for index, key in enumerate(keys)]
        if not ciphers:
            raise ConfigurationError(f"{_KEY} must hold at least one key", key=_KEY)
        self._cipher = MultiFernet(ciphers)
        self._accept_plain = accept_plain

    def split(self, payload: bytes) -> dict[str, Raw]:
        """Decrypt a stored session and take it apart.

        Raises:
            SessionDecodingError: No key fits, or the bytes are not an encrypted session.
        """
        if self._accept_plain and payload.startswith(b"{"):
            return super().split(payload)
        try:
            decrypted = self._cipher.decrypt(payload)
        except InvalidToken:
            raise SessionDecodingError(
                "the stored session is not encrypted with any of the keys"
            ) from None
        return super().split(decrypted)

    def join(self, parts: Parts) -> bytes:
        """Return the encrypted form of a session."""
        return self._cipher.encrypt(super().join(parts))


def _cipher(key: str | bytes, index: int) -> Fernet:
    try:
        return Fernet(key)
    except ValueError:
        raise ConfigurationError(
            f"{_KEY}[{index}] must be 32 bytes as URL-safe base64; make one with"
            ' python -c "from cryptography.fernet import Fernet;'
            ' print(Fernet.generate_key().decode())"',
            key=_KEY,
        ) from None
