"""What ``doctor`` looks at: the configuration first, then the servers that it names."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from pyfly_session.auto_configuration import SessionContainer, create_container
from pyfly_session.auto_configuration.application import close_clients
from pyfly_session.auto_configuration.store import choose_store
from pyfly_session.cli.common import say, store_place
from pyfly_session.cli.doctor.configuration import Subject, check_configuration, is_production
from pyfly_session.cli.doctor.findings import Finding, files_read, misplaced, of_error
from pyfly_session.config import Config
from pyfly_session.errors import ConfigurationError

_PATIENCE_SECONDS = 60


def examine(config: Config, directory: str, workers: int | None, *, offline: bool) -> list[Finding]:
    """Look at a configuration and, unless offline, at the servers that it names."""
    container = create_container(config)
    subject = Subject(container, production=is_production(config.profiles), workers=workers)
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
    if not (offline or refused) and choose_store(subject.properties)[0] != "memory":
        found = asyncio.run(_connect(container))
        # A client that cannot be made keeps an application from starting, too.
        told = {each.message for each in found}
        findings = [each for each in findings if each.message not in told] + found
    return findings


async def _connect(container: SessionContainer) -> list[Finding]:
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
