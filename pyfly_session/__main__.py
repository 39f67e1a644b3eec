"""``python -m pyfly_session`` is ``pyfly-session``, where that is not on the path."""

from pyfly_session.cli import main

main()
