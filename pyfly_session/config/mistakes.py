"""What is wrong with a configuration: collected, so that all of it is told at once."""

import difflib
import re
from collections.abc import Collection, Mapping

from pyfly_session.errors import ConfigurationError

_MOST = 20
# Comparing names takes quadratic time.
_LONGEST_NAME = 64


class Mistakes(list[ConfigurationError]):
    """The mistakes that were found so far.

    Args:
        origins: Where each dotted key came from; may be incomplete.
    """

    def __init__(self, origins: Mapping[str, str]) -> None:
        super().__init__()
        self.origins = origins

    def add(self, key: str, problem: str, value: object = None) -> None:
        """Add one about a dotted key; the problem goes on with the sentence that the key begins."""
        origin = origin_of(self.origins, key)
        self.append(ConfigurationError(f"{key} {problem}", key=key, value=value, origin=origin))

    def add_unknown(
        self, key: str, siblings: Collection[str], known: tuple[str, ...], hint: str | None = None
    ) -> None:
        """Add a key that no property has, with a proposal and the choice.

        Args:
            key: The full dotted key.
            siblings: The keys that its section allows.
            known: All dotted keys of the tree; a key that was put one level off is found there.
            hint: What to do instead, where that is known.
        """
        section, _, name = key.rpartition(".")
        name = kebab(name[:_LONGEST_NAME])
        close = [name] if name in siblings else difflib.get_close_matches(name, siblings, 1)
        # The right words with a dash for a dot, the other way round, or none.
        alike = [one for one in known if _run_together(one) == _run_together(f"{section}.{name}")]
        last = ((one, one.rpartition(".")[2]) for one in known)
        alike += [one for one, leaf in last if _run_together(leaf) == _run_together(name)]
        if hint is not None:
            proposal = f"; {hint}. Allowed"
        elif alike and name not in siblings:
            proposal = f"; did you mean {alike[0]}? Allowed"
        elif close:
            proposal = f"; did you mean {section}.{close[0]}? Allowed"
        else:
            proposal = "; allowed"
        self.add(key, f"is not a known property{proposal} here: {', '.join(siblings)}")

    def any_below(self, prefix: str) -> bool:
        """Return whether a value below a key is wrong by itself, so that none can be compared."""
        return any((error.key or "").startswith(prefix) for error in self)

    def different(self) -> list[ConfigurationError]:
        """Return the mistakes, of one key the first only."""
        by_key = {error.key or str(error): error for error in reversed(self)}
        return [*by_key.values()][::-1]

    def raise_all(self) -> None:
        """Raise what is wrong, all of it at once, a line each.

        Key, value and origin are those of the first.
        """
        errors = self.different()
        if not errors:
            return
        first = errors[0]
        if len(errors) == 1:
            raise first
        lines = [str(error) for error in errors[:_MOST]]
        if len(errors) > _MOST:
            lines.append(f"and {len(errors) - _MOST} more")
        combined = ConfigurationError("\n".join(lines), key=first.key, value=first.value)
        combined.origin = first.origin
        raise combined


def origin_of(origins: Mapping[str, str], key: str) -> str | None:
    """Return where a dotted key came from, or else its nearest section, or None."""
    while key:
        if key in origins:
            return origins[key]
        key = key.rpartition(".")[0]
    return None


def _run_together(key: str) -> str:
    return key.replace(".", "").replace("-", "")


def kebab(name: str) -> str:
    """Return ``cookieName``, ``cookie_name`` or ``COOKIE_NAME`` as ``cookie-name``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).replace("_", "-").lower()
