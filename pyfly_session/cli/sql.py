"""``pyfly-session sql``: the table of the SQL store, for those who create it themselves."""

from __future__ import annotations

import click

from pyfly_session.cli.common import configured, load_container, print_json, require_extra


@click.group()
def sql() -> None:
    """See the table of the SQL store."""


@sql.command()
@configured
@click.option("--url", help="Another database than the configured one, for its kind.")
def schema(directory: str, profiles: str | None, as_json: bool, url: str | None) -> None:
    """Print the statements that create the table. Connects to nothing."""
    require_extra("sql", "sqlalchemy")
    from pyfly_session.adapters.sql import schema_of
    from pyfly_session.config.masking import mask_url

    properties = load_container(directory, profiles).properties().sql
    try:
        statements = schema_of(url or properties.url, properties.table)
    except Exception as error:
        shown = mask_url(url or properties.url)
        raise click.ClickException(f"{shown} is of no database that is known: {error}") from error
    if as_json:
        print_json({"statements": statements.split(";\n")})
    else:
        click.echo(statements)
