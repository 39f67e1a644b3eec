"""``pyfly-session doctor``: each finding, its remedy, and how it ends."""

import json
import re
import string
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from cryptography.fernet import Fernet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyfly_session.cli.doctor.findings import PAGES
from pyfly_session.config import describe_properties, load_config
from pyfly_session.config.loader import load_with_mistakes
from pyfly_session.errors import ConfigurationError
from tests.cli.conftest import Run, write
from tests.support.cases import for_each
from tests.support.types import Patch

ROOT = Path(__file__).parent.parent.parent
SHIPPED = ROOT / "config"
SAFE = """
pyfly:
  session:
    enabled: true
    store: redis
    fail-fast: true
    hash-ids: true
    max-lifetime: 43200
    cookie-name: __Host-session
    cookie: {secure: true}
    encryption: {keys: ["${KEY}"]}
    redis: {url: "${REDIS_URL}"}
"""


@pytest.fixture
def safe(folder: Path, monkeypatch: Patch) -> Path:
    """Have a configuration that nothing can be said against."""
    monkeypatch.setenv("KEY", Fernet.generate_key().decode())
    monkeypatch.setenv("REDIS_URL", "redis://localhost:1/0")
    write(folder, pyfly=SAFE)
    return folder


def findings(result: Result, level: str = "") -> list[dict[str, Any]]:
    """Return what a run with ``--json`` found, at one level if it is given."""
    found: list[dict[str, Any]] = json.loads(result.stdout)["findings"]
    return [each for each in found if level in ("", each["level"])]


def test_every_check_has_a_page_of_the_docs() -> None:
    package = ROOT / "pyfly_session" / "cli" / "doctor"
    source = "".join(path.read_text("utf-8") for path in package.glob("*.py"))
    checks = re.findall(r'(?:of_error\(|(?:Finding|about)\(\s*(?:level|"\w+"),\s*)"(\w+)"', source)
    assert len({*checks}) > 10
    assert {*checks} - PAGES.keys() == set()
    assert [page for page in PAGES.values() if not (ROOT / page).is_file()] == []


def test_every_mistake_is_told_at_once(folder: Path, run: Run, monkeypatch: Patch) -> None:
    write(
        folder,
        pyfly="""
pyfly:
  session:
    ttl: 0
    stroe: redis
    cookie: {same-site: nne}
    redis: {url: "${UNSET}", timeout: soon}
    exclude-patterns: [/ok, wrong]
  security:
    oauth2:
      client: {registrations: {green: {client-secret: hunter2}}}
""",
    )
    monkeypatch.setenv("PYFLY_SESSION_TLL", "1")
    result = run("doctor", "--json")
    assert result.exit_code == 1
    assert [(each["key"], each["origin"]) for each in findings(result)] == [
        ("PYFLY_SESSION_TLL", None),
        ("pyfly.session.redis.url", "config/pyfly.yaml"),
        ("pyfly.session.ttl", "config/pyfly.yaml"),
        ("pyfly.session.stroe", "config/pyfly.yaml"),
        ("pyfly.session.cookie.same-site", "config/pyfly.yaml"),
        ("pyfly.session.redis.timeout", "config/pyfly.yaml"),
        ("pyfly.session.exclude-patterns", "config/pyfly.yaml"),
        *(
            (f"pyfly.security.oauth2.client.registrations.green.{name}", "config/pyfly.yaml")
            for name in ("client-id", "authorization-uri", "token-uri", "user-info-uri")
        ),
    ]
    assert {each["remedy"] for each in findings(result) if each["key"].endswith("ttl")} == {None}
    output = run("doctor").output
    assert "did you mean pyfly.session.store?" in output
    assert "11 errors, 0 warnings, 0 hints." in output
    assert "correct the configuration first" in output
    assert "hunter2" not in output


NAMES = st.sampled_from(["PYFLY_SESSION_", "PYFLY_SECURITY_OAUTH2_"]).flatmap(
    lambda prefix: st.text(string.ascii_uppercase + "_", max_size=9).map(prefix.__add__)
) | st.sampled_from([each.environment_variable for each in describe_properties()])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(environ=st.dictionaries(NAMES, st.text(max_size=9), max_size=5))
def test_a_start_tells_every_mistake_that_the_doctor_finds(
    folder: Path, environ: dict[str, str]
) -> None:
    write(folder, pyfly="pyfly: {session: {ttl: 5}}", pyfly_prod="pyfly: {session: {}}")
    config, mistakes = load_with_mistakes("config", "prod", environ)
    told, loaded = "", config
    try:
        loaded = load_config("config", "prod", environ=environ)
    except ConfigurationError as error:
        told = str(error)
    assert (told, loaded) == ("\n".join(map(str, mistakes.different())), config)
    assert len({str(each) for each in mistakes}) == len(mistakes)


def test_a_file_that_cannot_be_read_is_an_error(folder: Path, run: Run) -> None:
    write(folder, pyfly="a: [")
    result = run("doctor")
    assert result.exit_code == 1
    assert "error   configuration  the file is not valid YAML" in result.output
    assert run("doctor", "--config", "missing").exit_code == 1


@for_each(
    ("session", "message", "remedy"),
    [
        ("{stroe: redis}", "pyfly.session.stroe is not a known property", "did you mean"),
        ("{xyz: 1}", "pyfly.session.xyz is not a known property", "allowed here: "),
        ("{ttl: '${UNSET}'}", "which is not set", "set it, or give a default as in ${UNSET:"),
        ("{ttl: '${UNSET'}", "holds a '${' without its '}'", "close it, or write $${"),
        ("{cookie: {same-site: none}}", "browsers refuse the cookie", "or choose lax or strict"),
        ("{header: {name: cookie}}", "has a meaning in HTTP", "choose a name such as X-Auth"),
        # What would be right is in the message.
        ("{ttl: 0}", "must be at least 1 second, got 0", None),
    ],
)
def test_a_mistake_is_told_with_key_place_and_remedy(
    folder: Path, run: Run, session: str, message: str, remedy: str | None
) -> None:
    write(folder, pyfly=f"pyfly: {{session: {session}}}")
    [found] = findings(run("doctor", "--json"))
    assert found["message"].endswith(f"{message} (config/pyfly.yaml)")
    assert found["key"].startswith("pyfly.session.")
    assert found["origin"] == "config/pyfly.yaml"
    assert (found["remedy"] or "").startswith(remedy or "")
    assert (found["remedy"] is None) == (remedy is None)


def test_files_that_were_read_are_told_and_what_was_put_above_pyfly(folder: Path, run: Run) -> None:
    write(folder, pyfly="session: {enabled: true}", pyfly_dev="")
    found = findings(run("doctor", "--profiles", "dev", "--json"))
    assert found[0]["message"].endswith("; files read: config/pyfly.yaml, config/pyfly-dev.yaml")
    [misplaced] = [each for each in found if each["key"] == "session"]
    assert (misplaced["level"], misplaced["remedy"]) == ("warning", "did you mean it below pyfly:?")
    assert misplaced["origin"] == "config/pyfly.yaml"


def test_a_safe_configuration_passes(safe: Path, run: Run) -> None:
    result = run("doctor", "--offline", "--strict", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["ok"] is True
    assert {each["level"] for each in findings(result)} == {"ok"}


# What is changed of the safe configuration, and what is said then.
UNSAFE = [
    ("SESSION_ENABLED", "false", "error", "enabled is not true"),
    ("SESSION_STORE", "memory", "warning", "store is memory: sessions end with the process"),
    ("SESSION_FAIL_FAST", "false", "warning", "fail-fast is false"),
    ("SESSION_COOKIE_NAME", "SHOP", "hint", "cookie-name is SHOP"),
    ("SESSION_COOKIE_SAME_SITE", "none", "warning", "same-site is none"),
    ("SESSION_MAX_LIFETIME", "60", "warning", "max-lifetime is 60, less than pyfly.session.ttl"),
    ("SESSION_MAX_LIFETIME", "", "hint", "max-lifetime is not set"),
    ("SESSION_ENCRYPTION_KEYS", "", "hint", "encryption.keys is empty"),
    ("SESSION_ENCRYPTION_ACCEPT_PLAIN", "on", "warning", "accept-plain is true"),
    ("SESSION_HASH_IDS", "false", "hint", "hash-ids is false"),
    ("SESSION_REDIS_URL", "redis://db.example:1/0", "hint", "sessions travel to db.example"),
    ("SESSION_CONCURRENCY_ENABLED", "true", "warning", "registry is memory, the store is redis"),
]


@pytest.mark.parametrize(("name", "value", "level", "message"), UNSAFE)
@pytest.mark.usefixtures("safe")
def test_what_is_not_safe_is_told_with_its_place(
    run: Run, monkeypatch: Patch, name: str, value: str, level: str, message: str
) -> None:
    variable = f"PYFLY_{name}"
    monkeypatch.setenv(variable, value)
    if "CONCURRENCY" in name:
        monkeypatch.setenv("PYFLY_SESSION_CONCURRENCY_REGISTRY", "memory")
    result = run("doctor", "--offline", "--json")
    [found] = [each for each in findings(result, level) if message in each["message"]]
    assert found["remedy"]
    assert "environment variable PYFLY_SESSION_" in found["origin"]
    assert result.exit_code == (1 if level == "error" else 0)
    assert run("doctor", "--offline", "--strict").exit_code == (0 if level == "hint" else 1)


@pytest.mark.usefixtures("safe")
def test_a_cookie_over_plain_http_is_an_error_in_production_only(folder: Path, run: Run) -> None:
    write(
        folder,
        pyfly_dev="pyfly: {session: {cookie-name: A, cookie: {secure: false}, store: memory}}",
    )
    assert run("doctor", "--profiles", "dev", "--strict").exit_code == 0
    (folder / "pyfly-dev.yaml").rename(folder / "pyfly-eu.yaml")
    result = run("doctor", "--profiles", "eu", "--json")
    assert result.exit_code == 1
    [error] = findings(result, "error")
    assert error["key"] == "pyfly.session.cookie.secure"
    assert error["origin"] == "config/pyfly-eu.yaml"


def test_cookies_do_not_matter_where_only_headers_are_used(safe: Path, run: Run) -> None:
    write(
        safe, pyfly_eu="pyfly: {session: {resolver: header, cookie-name: A, cookie: {secure: no}}}"
    )
    result = run("doctor", "--offline", "--json", "--profiles", "eu")
    assert "cookie" not in {each["check"] for each in findings(result)}


@pytest.mark.parametrize("way", ["option", "variable"])
def test_a_memory_store_for_several_workers_is_an_error(
    folder: Path, run: Run, monkeypatch: Patch, way: str
) -> None:
    write(folder, pyfly="pyfly: {session: {enabled: true}}", pyfly_dev="")
    arguments = ["doctor", "--profiles", "dev", "--json"]
    assert run(*arguments, "--workers", "1").exit_code == 0
    if way == "option":
        arguments += ["--workers", "4"]
    else:
        monkeypatch.setenv("WEB_CONCURRENCY", "4")
    result = run(*arguments)
    assert result.exit_code == 1
    [error] = findings(result, "error")
    assert "there are 4 workers with sessions of their own" in error["message"]


@for_each(
    ("session", "message"),
    [
        ("{store: rediss}", "fell back to memory"),
        ("{store: rediss, fail-fast: true}", "store must be memory, redis or sql, got 'rediss'"),
        ("{store: redis, encryption: {keys: [short]}}", "encryption.keys"),
    ],
)
def test_store_that_cannot_be_is_error(folder: Path, run: Run, session: str, message: str) -> None:
    write(folder, pyfly=f"pyfly: {{session: {session}}}")
    result = run("doctor", "--json")
    assert result.exit_code == 1
    assert any(message in each["message"] for each in findings(result, "error"))
    # Nothing to connect to, then.
    assert "connection" not in {each["check"] for each in findings(result)}


LOGIN = """
pyfly:
  session: {enabled: true, cookie: {secure: true, same-site: %s}}
  security:
    oauth2:
      client:
        enabled: true
        registrations: {%s}
      login: {enabled: true}
"""
GREEN = "green: {client-id: shop, client-secret: hunter2, issuer-uri: 'http://green.test'}"


def test_the_login_is_checked(folder: Path, run: Run, monkeypatch: Patch) -> None:
    write(folder, pyfly=LOGIN % ("lax", GREEN))
    result = run("doctor", "--json")
    assert result.exit_code == 0
    login = [each for each in findings(result) if each["check"] == "login"]
    assert [each["level"] for each in login] == ["ok", "warning", "hint"]
    assert "issuer-uri starts with http://" in login[1]["message"]
    assert "redirect-uri is not set" in login[2]["message"]
    assert "hunter2" not in result.output
    public = GREEN.replace("client-secret: hunter2", "jwks-uri: 'http://green.test/keys'")
    write(folder, pyfly=LOGIN % ("lax", public))
    warned = [each["message"] for each in findings(run("doctor", "--json"), "warning")]
    assert any("jwks-uri starts with http://" in each for each in warned)
    assert any("client-secret is not set: a login comes back" in each for each in warned)
    write(folder, pyfly=LOGIN % ("strict", GREEN))
    assert "got strict" in run("doctor").output
    write(folder, pyfly=LOGIN % ("lax", ""))
    assert "there are no registrations" in run("doctor").output
    write(folder, pyfly=LOGIN % ("lax", GREEN))
    monkeypatch.setitem(sys.modules, "pyfly_session.security.oauth2.login", None)
    result = run("doctor")
    assert result.exit_code == 1
    assert "pip install 'pyfly-session[oauth2]'" in result.output


def test_package_missing_at_start_is_error(safe: Path, run: Run, monkeypatch: Patch) -> None:
    monkeypatch.setenv("PYFLY_SESSION_OBSERVABILITY_ENABLED", "true")
    monkeypatch.setitem(sys.modules, "pyfly_session.observability", None)
    result = run("doctor", "--offline", "--json")
    assert result.exit_code == 1
    [error] = findings(result, "error")
    assert (error["check"], error["key"]) == ("start", "pyfly.session.observability.enabled")
    assert error["remedy"] == "pip install 'pyfly-session[otel]'"


@pytest.mark.usefixtures("safe")
def test_people_get_the_same_as_programs(run: Run) -> None:
    lines = run("doctor", "--offline").output.splitlines()
    assert lines[0].startswith("ok      configuration  valid; active profiles: none; judged as")
    assert "ok      encryption     pyfly.session.encryption.keys has 1 key" in "\n".join(lines)
    assert lines[-1] == "0 errors, 0 warnings, 0 hints."
