"""What an operator sees and does in a running application: sessions, health, configuration."""

from pyfly_session.management.access import Guard
from pyfly_session.management.application import Management

__all__ = ["Guard", "Management"]
