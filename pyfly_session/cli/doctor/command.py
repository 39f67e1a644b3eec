"""``pyfly-session doctor``: everything that can be checked before a deployment."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from pyfly_session.cli.common import configured, print_json, say, say_missing
from pyfly_session.config.masking import one_line
from pyfly_session.errors import ConfigurationError

if TYPE_CHECKING:
    from pyfly_session.auto_configuration import SessionContainer
    from pyfly_session.cli.doctor.findings import Finding
    from pyfly_session.config import Config

_COLOURS = {"error": "red", "warning": "yellow", "hint": "cyan", "ok": "green"}
_PATIENCE_SECONDS = 60


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
        findings = _examine(config, directory, workers, offline=offline)
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


def _examine(
    config: Config, directory: str, workers: int | None, *, offline: bool
) -> list[Finding]:
    from pyfly_session.auto_configuration import create_container
    from pyfly_session.auto_configuration.store import choose_store
    from pyfly_session.cli.doctor.configuration import Subject, check_configuration, is_production
    from pyfly_session.cli.doctor.findings import Finding, files_read, misplaced

    container = create_container(config)
    properties = container.properties()
    subject = Subject(
        container=container,
        properties=properties,
        oauth2=container.oauth2_properties(),
        origins=config.origins,
        production=is_production(config.profiles),
        workers=workers,
    )
    kind = "a production" if subject.production else "no production"
    active = ", ".join(config.profiles) or "none"
    files = ", ".join(files_read(directory, config)) or "none"
    judged = f"valid; active profiles: {active}; judged as that of {kind}; files read: {files}"
    findings = [Finding("ok", "configuration", judged)]
    for key, origin in misplaced(config):
        message, remedy = f"{key} is at the top of {origin}", "did you mean it below pyfly:?"
        findings.append(Finding("warning", "configuration", message, remedy, key, origin))
    findings += check_configuration(subject)
    refused = any(
        each.level == "error" and each.check in ("store", "encryption") for each in findings
    )
    if not (offline or refused) and choose_store(properties)[0] != "memory":
        found = asyncio.run(_connect(container))
        # A client that cannot be made keeps an application from starting, too.
        told = {each.message for each in found}
        findings = [each for each in findings if each.message not in told] + found
    return findings


async def _connect(container: SessionContainer) -> list[Finding]:
    from pyfly_session.auto_configuration.application import close_clients
    from pyfly_session.cli.common import store_place
    from pyfly_session.cli.doctor.findings import Finding, of_error

    properties = container.properties()
    where, prefix = store_place(properties), properties.redis.key_prefix
    try:
        store = container.session_store()
        if properties.store_kind == "redis":
            from pyfly_session.cli.doctor.redis_server import check_servers

            checks = check_servers(container.redis_client(), store, where, prefix, say)
        else:
            from pyfly_session.cli.doctor.sql_database import check_database

            checks = check_database(store, where, say)
    except ConfigurationError as error:
        found = of_error("connection", error, "correct the option, or leave it out")
        return [replace(found, origin=container.config_origins().get(str(error.key)))]
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await checks
    except TimeoutError:
        message = f"{where} did not answer everything within {_PATIENCE_SECONDS} seconds"
        return [Finding("error", "connection", message)]
    finally:
        await close_clients(container)


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
