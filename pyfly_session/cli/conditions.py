"""``pyfly-session conditions``: which bean was chosen, and why."""

from __future__ import annotations

import click

from pyfly_session.cli.options import configured, load_container
from pyfly_session.cli.output import print_json, print_table


@click.command()
@configured
def conditions(directory: str, profiles: str | None, as_json: bool) -> None:
    """Show which bean the configuration chooses, and why.

    Beans that an application provides in its code are not known here; there,
    pyfly_session.auto_configuration.container_report tells the same of its
    container.
    """
    from dataclasses import asdict

    from pyfly_session.auto_configuration.conditions import conditions as explain

    rows = explain(load_container(directory, profiles))
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    print_table(((row.bean, row.choice, row.reason) for row in rows), "Bean", "Choice", "Because")
