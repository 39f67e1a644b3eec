"""``pyfly-session doctor``: everything that can be checked before a deployment."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from pyfly_session.cli.common import configured, print_json, say_missing
from pyfly_session.config.masking import one_line
from pyfly_session.errors import ConfigurationError

if TYPE_CHECKING:
    from pyfly_session.cli.doctor.findings import Finding

_COLOURS = {"error": "red", "warning": "yellow", "hint": "cyan", "ok": "green"}


@click.command()
@configured
@click.option(
    "--workers",
    type=click.IntRange(1),
    envvar="WEB_CONCURRENCY",
    show_envvar=True,
    help="Processes that are to serve the application.",
)
@click.option("--strict", is_flag=True, help="Fail on warnings, too.")
@click.option("--offline", is_flag=True, help="Check the configuration only; connect to nothing.")
@click.pass_context
def doctor(
    ctx: click.Context,
    directory: str,
    profiles: str | None,
    as_json: bool,
    workers: int | None,
    strict: bool,
    offline: bool,
) -> None:
    """Check the configuration and the store before a deployment.

    A configuration counts as that of a production unless the profile dev, development, local
    or test is active. Ends with 0 if nothing is wrong, with 1 if there is an error. At the
    server one session is stored and removed; nothing else is touched.
    """
    from pyfly_session.cli.doctor.examination import examine
    from pyfly_session.cli.doctor.findings import of_error
    from pyfly_session.config.loader import load_with_mistakes

    say_missing(directory)
    try:
        config, mistakes = load_with_mistakes(directory, profiles)
        errors = mistakes.different()
    except ConfigurationError as error:
        errors = [error]
    findings = [of_error("configuration", each) for each in errors]
    if not errors:
        findings = examine(config, directory, workers, offline=offline)
    levels = [each.level for each in findings]
    failed = "error" in levels or (strict and "warning" in levels)
    if as_json:
        print_json(
            {
                "ok": not failed,
                "findings": [asdict(each) | {"page": each.page} for each in findings],
            }
        )
    else:
        _print(findings)
        if errors:
            click.echo("\nNothing else was checked; correct the configuration first.")
    ctx.exit(1 if failed else 0)


def _print(findings: list[Finding]) -> None:
    width = max(len(each.check) for each in findings)
    several = len({each.server for each in findings if each.server}) > 1
    for each, servers in _merged(findings).items():
        level = click.style(f"{each.level:<8}", fg=_COLOURS[each.level])
        place = f" [{', '.join(servers)}]" if servers and several else ""
        click.echo(f"{level}{each.check:<{width}}  {one_line(each.message)}{place}")
        if each.remedy:
            click.echo(f"{'':<{8 + width}}  -> {one_line(each.remedy)}")
        if each.level != "ok":
            click.echo(f"{'':<{8 + width}}  see {each.page}")
    levels = [each.level for each in findings]
    counts = {level: levels.count(level) for level in ("error", "warning", "hint")}
    told = (f"{count} {level}{'' if count == 1 else 's'}" for level, count in counts.items())
    click.echo(f"\n{', '.join(told)}.")


def _merged(findings: list[Finding]) -> dict[Finding, list[str]]:
    """Put together what was found at several servers."""
    merged: dict[Finding, list[str]] = {}
    for each in findings:
        servers = merged.setdefault(replace(each, server=None), [])
        if each.server:
            servers.append(each.server)
    return merged
