"""``pyfly-session config`` and ``conditions``: effective values, and who decided."""

import json
from pathlib import Path

import pytest

from pyfly_session.config import describe_properties
from tests.cli.conftest import Run, write
from tests.support.cases import for_each
from tests.support.types import Patch

SECRET = "hunter2"


def test_config_shows_what_is_set_and_where(folder: Path, run: Run, monkeypatch: Patch) -> None:
    write(
        folder,
        pyfly="pyfly: {session: {enabled: true, ttl: 60}}",
        pyfly_prod="pyfly: {session: {ttl: 90, exclude-patterns: [/health]}}",
    )
    monkeypatch.setenv("PYFLY_SESSION_COOKIE_NAME", "SHOP")
    result = run("config", "--profiles", "prod")
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "Active profiles: prod",
        "",
        "Property                        Value        From",
        "pyfly.session.enabled           true         config/pyfly.yaml",
        "pyfly.session.cookie-name       SHOP         environment variable"
        " PYFLY_SESSION_COOKIE_NAME",
        "pyfly.session.ttl               90           config/pyfly-prod.yaml",
        'pyfly.session.exclude-patterns  ["/health"]  config/pyfly-prod.yaml',
    ]


def test_config_shows_every_property_if_asked_for(folder: Path, run: Run) -> None:
    write(folder, pyfly="pyfly: {session: {ttl: 60}}")
    rows = {
        row["key"]: row for row in json.loads(run("config", "--all", "--json").output)["properties"]
    }
    assert {each.key for each in describe_properties()} <= set(rows)
    assert rows["pyfly.session.ttl"]["origin"] == "config/pyfly.yaml"
    assert rows["pyfly.session.max-lifetime"] == {
        "key": "pyfly.session.max-lifetime", "value": None, "origin": "default", "variables": [],
    }  # fmt: skip
    assert rows["pyfly.security.oauth2.login.enabled"]["value"] is False


def test_config_names_variables_of_placeholders(folder: Path, run: Run, monkeypatch: Patch) -> None:
    write(
        folder,
        pyfly="""
pyfly:
  session:
    redis: {url: "${REDIS_URL:redis://localhost}", key-prefix: "$${NONE}:", password: "${SECRET}"}
    encryption: {keys: ["${KEY}", "${OLD_KEY:x}"]}
""",
    )
    monkeypatch.setenv("SECRET", SECRET)
    monkeypatch.setenv("KEY", SECRET)
    monkeypatch.setenv("PYFLY_SESSION_REDIS_URL", "redis://h")
    rows = {each["key"]: each for each in json.loads(run("config", "--json").output)["properties"]}
    assert {key: each["variables"] for key, each in rows.items()} == {
        "pyfly.session.encryption.keys": ["KEY", "OLD_KEY"],
        "pyfly.session.redis.url": [],  # set by a variable of its own
        "pyfly.session.redis.key-prefix": [],
        "pyfly.session.redis.password": ["SECRET"],
    }
    line = "pyfly.session.redis.password    ***        config/pyfly.yaml ${SECRET}"
    assert line in run("config").output.splitlines()


@pytest.mark.parametrize("form", [[], ["--json"], ["--all"]])
def test_config_masks_secrets(folder: Path, run: Run, monkeypatch: Patch, form: list[str]) -> None:
    write(
        folder,
        pyfly=f"""
pyfly:
  session:
    encryption: {{keys: [{SECRET}]}}
    redis:
      url: redis://shop:{SECRET}@h:1/0
      password: {SECRET}
      sentinel: {{password: {SECRET}}}
""",
    )
    registration = "PYFLY_SECURITY_OAUTH2_CLIENT_REGISTRATIONS_GREEN"
    monkeypatch.setenv(f"{registration}_CLIENT_ID", "shop")
    monkeypatch.setenv(f"{registration}_CLIENT_SECRET", SECRET)
    monkeypatch.setenv(f"{registration}_ISSUER_URI", "https://green.test")
    output = run("config", *form).output
    assert SECRET not in output
    assert "redis://shop:***@h:1/0" in output
    assert "pyfly.security.oauth2.client.registrations.green.client-secret" in output
    assert f"environment variable {registration}_CLIENT_SECRET" in output


def test_config_says_when_nothing_is_set(folder: Path, run: Run) -> None:
    output = run("config").output
    assert "Files read: none\nNothing is set: every property has its default" in output
    folder.rmdir()
    result = run("config", "--json")
    assert json.loads(result.stdout) == {"profiles": [], "files": [], "properties": []}
    assert "no directory config here" in result.stderr


MISPLACED = [
    ("session: {enabled: true}", "session"),
    ("session.enabled: true", "session.enabled"),
    ("security: {oauth2: {login: {enabled: true}}}", "security"),
    ("profiles: {active: prod}", "profiles"),
]


@for_each(("text", "key"), MISPLACED)
def test_what_was_put_above_pyfly_is_missed(folder: Path, run: Run, text: str, key: str) -> None:
    write(folder, pyfly=text)
    result = run("config")
    assert "Files read: config/pyfly.yaml\nNothing is set" in result.stdout
    hint = f"config/pyfly.yaml has {key!r} at its top; did you mean it below 'pyfly:'?\n"
    assert result.stderr == hint
    result = run("config", "--json")
    assert json.loads(result.stdout)["files"] == ["config/pyfly.yaml"]


@for_each("text", ["security: {tls: true}", "session: x", "server: {port: 1}"])
def test_what_application_keeps_beside_pyfly_is_its_own(folder: Path, run: Run, text: str) -> None:
    write(folder, pyfly=text)
    assert run("config").stderr == ""


def test_a_wrong_configuration_is_one_sentence(folder: Path, run: Run) -> None:
    write(folder, pyfly="pyfly: {session: {ttl: 0}}")
    for command in ("config", "conditions"):
        result = run(command, "--config", str(folder))
        assert result.exit_code == 1
        assert result.output.startswith("Error: pyfly.session.ttl must be at least 1 second")
    result = run("config", "--config", "missing")
    assert "Error: the configuration directory missing does not exist" in result.output


def test_a_value_cannot_draw_on_the_terminal(folder: Path, run: Run) -> None:
    write(folder, pyfly='pyfly: {session: {redis: {key-prefix: "a\\e[2Jb\\nc"}}}')
    assert "a\\x1b[2Jb\\x0ac" in run("config").output


def test_conditions_are_those_of_the_container(folder: Path, run: Run) -> None:
    write(folder, pyfly="pyfly: {session: {enabled: true, store: redis}}")
    lines = run("conditions").output.splitlines()
    assert lines[0].split() == ["Bean", "Choice", "Because"]
    assert lines[2].split(maxsplit=2) == [
        "session_store", "RedisSessionStore", "pyfly.session.store is redis (config/pyfly.yaml)",
    ]  # fmt: skip
    rows = {row["bean"]: row for row in json.loads(run("conditions", "--json").output)}
    assert rows["session_store"]["key"] == "pyfly.session.store"
    assert rows["session_store"]["origin"] == "config/pyfly.yaml"
    assert rows["oauth2_login_filter"]["choice"] == "none"
