"""Run the shop and a provider to log in with: ``python -m examples.oauth2_login``."""

from __future__ import annotations

import argparse
import socket
import sys
from contextlib import suppress

try:
    import uvicorn

    from examples.oauth2_login.app import create_app, settings
    from pyfly_session.security.oauth2 import OAuth2LoginHandler  # noqa: F401 - is everything there?
except ModuleNotFoundError as error:
    sys.exit(f"{error.name} is missing: pip install '.[demo,oauth2]'")
from examples.oauth2_login.local_provider import NoProviderError, local_provider


def main() -> None:
    """Run both until Ctrl+C."""
    with suppress(KeyboardInterrupt):
        run()
    print("\nBoth have ended.")


def run() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(prog="python -m examples.oauth2_login", description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    port = parser.parse_args().port
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        sys.exit(f"port {port} cannot be used ({error.strerror}); choose another with --port")
    with listener:
        shop = f"http://127.0.0.1:{listener.getsockname()[1]}"
        print("Starting the provider; the first time npm installs it.", flush=True)
        try:
            with local_provider(shop) as issuer:
                app = create_app(settings(issuer=issuer, shop=shop))
                print(f"\n    Open  {shop}\n\nLog in with any name and any password.")
                print(f"The provider is at {issuer}. Ctrl+C ends both.", flush=True)
                server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
                server.run(sockets=[listener])
        except NoProviderError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
