"""What an operator sees and does in a running application: sessions, health, configuration."""

from pyfly_session.management.application import Management
from pyfly_session.management.gate import Guard

__all__ = ["Guard", "Management"]
