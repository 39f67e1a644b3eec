"""Profiles, merging, environment variables and the shipped files."""

import copy
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pyfly_session.config import Config, SessionProperties, bind_properties, load_config
from pyfly_session.config.oauth2_properties import bind_oauth2_properties
from pyfly_session.errors import ConfigurationError
from tests.support.cases import for_each
from tests.support.types import Patch

SHIPPED = Path(__file__).parent.parent / "config"
PASSWORD = "s3cr3t"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "conf"
    path.mkdir()
    return path


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name.replace('_', '-')}.yaml").write_text(text, "utf-8")


def refusal(folder: Path, profiles: Any = None, **environ: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        load_config(folder, profiles, environ=environ)
    return caught.value


def session(config: Mapping[str, Any]) -> dict[str, Any]:
    section: dict[str, Any] = config["pyfly"]["session"]
    return section


def test_profiles_are_merged_deeply_and_the_later_wins(folder: Path) -> None:
    write(
        folder,
        pyfly="pyfly: {session: {ttl: 1, store: memory, redis: {retries: 2, timeout: 1}}}",
        pyfly_a="pyfly: {session: {ttl: 2, redis: {retries: 3}, exclude-patterns: [/a, /b]}}",
        pyfly_b="pyfly: {session: {ttl: 3, exclude-patterns: [/c]}}",
    )
    config = load_config(folder, "a, b", environ={})
    assert session(config) == {
        "ttl": 3, "store": "memory", "redis": {"retries": 3, "timeout": 1},
        "exclude-patterns": ["/c"],
    }  # fmt: skip
    assert config.profiles == ("a", "b")
    assert session(load_config(folder, ["b", "a", "b"], environ={}))["ttl"] == 2


def test_each_value_remembers_its_origin(folder: Path) -> None:
    write(folder, pyfly="pyfly: {session: {ttl: 1, store: memory}}", pyfly_a="pyfly.session.ttl: 2")
    config = load_config(folder, "a", environ={"PYFLY_SESSION_COOKIE_PATH": "/x"})
    assert config.origins["pyfly.session.store"] == f"{folder.as_posix()}/pyfly.yaml"
    assert config.origins["pyfly.session.ttl"] == f"{folder.as_posix()}/pyfly-a.yaml"
    variable = "environment variable PYFLY_SESSION_COOKIE_PATH"
    assert config.origins["pyfly.session.cookie.path"] == variable


def test_wrong_value_is_refused_with_its_file(folder: Path, monkeypatch: Any) -> None:
    write(folder, pyfly="", pyfly_prod="pyfly: {session: {ttl: 0}}")
    monkeypatch.chdir(folder.parent)
    assert str(refusal(Path("conf"), "prod")) == (
        "pyfly.session.ttl must be at least 1 second, got 0 (conf/pyfly-prod.yaml)"
    )


def test_unknown_key_is_refused_with_its_file_and_others_are_left_alone(folder: Path) -> None:
    write(folder, pyfly="app: {a.b: 1}\npyfly: {security: {x_y: 1}}\n1: one")
    config = load_config(folder, environ={})
    assert config == {"app": {"a.b": 1}, "pyfly": {"security": {"x_y": 1}}, 1: "one"}
    write(folder, pyfly_a="pyfly: {session: {reddis: {}}}")
    assert str(refusal(folder, "a")).endswith("/pyfly-a.yaml)")


def test_empty_section_of_a_profile_changes_nothing(folder: Path) -> None:
    write(folder, pyfly="pyfly: {session: {redis: {retries: 5}}}", pyfly_a="pyfly.session.redis:")
    assert session(load_config(folder, "a", environ={})) == {"redis": {"retries": 5}}


def test_empty_value_of_a_profile_restores_the_default(folder: Path) -> None:
    write(folder, pyfly="pyfly: {session: {ttl: 5}}", pyfly_a="pyfly: {session: {ttl: }}")
    assert bind_properties(load_config(folder, "a", environ={})).ttl == 1800


def test_section_replaced_by_a_scalar_forgets_its_origins(folder: Path) -> None:
    write(
        folder, pyfly="app: {list: {a: 1}}", pyfly_a="app: {list: x}", pyfly_b="app: {list: {b: 2}}"
    )
    config = load_config(folder, "a,b", environ={})
    assert config == {"app": {"list": {"b": 2}}}
    assert set(config.origins) == {"app", "app.list", "app.list.b"}


def test_profiles_come_from_the_argument_then_the_variable_then_the_base_file(folder: Path) -> None:
    write(folder, pyfly="pyfly.profiles.active: ['${P:a}']", pyfly_a="", pyfly_b="", pyfly_c="")
    variable = {"PYFLY_PROFILES_ACTIVE": "b"}
    assert load_config(folder, "c", environ=variable).profiles == ("c",)
    assert load_config(folder, environ=variable).profiles == ("b",)
    assert load_config(folder, environ={"PYFLY_PROFILES_ACTIVE": " "}).profiles == ("a",)
    assert load_config(folder, environ={"P": "c"}).profiles == ("c",)
    assert load_config(folder, "", environ=variable).profiles == ()
    assert load_config(folder, [], environ=variable).profiles == ()


def test_real_environment_is_the_default(folder: Path, monkeypatch: Patch) -> None:
    write(folder, pyfly="", pyfly_a="")
    monkeypatch.setenv("PYFLY_PROFILES_ACTIVE", "a")
    monkeypatch.setenv("PYFLY_SESSION_TTL", "7")
    config = load_config(folder)
    assert (config.profiles, session(config)) == (("a",), {"ttl": "7"})


def test_profile_without_a_file_is_refused_with_those_that_exist(folder: Path) -> None:
    write(folder, pyfly="", pyfly_dev="", pyfly_prod="")
    error = refusal(folder, PYFLY_PROFILES_ACTIVE="prodd")
    assert str(error).startswith("the profile prodd has no file ")
    assert str(error).endswith(f"; profiles in {folder.resolve()}: dev, prod")


def test_profile_without_default_directory_is_refused(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config(environ={}) == {}
    with pytest.raises(ConfigurationError, match=r"(?m)no file config/pyfly-dev\.yaml.*: none$"):
        load_config(profiles="dev", environ={})


@for_each("name", ["../dev", "a/b", "a b", "a.b", "é", "a\nb"])
def test_name_of_a_profile_is_not_a_path(folder: Path, name: str) -> None:
    write(folder, pyfly="")
    error = refusal(folder, PYFLY_PROFILES_ACTIVE=name)
    assert "the name of a profile consists of letters, digits, - and _" in str(error)
    assert error.origin == "environment variable PYFLY_PROFILES_ACTIVE"


@for_each("value", ["5", "{a: b}", "[1]", "true"])
def test_active_profiles_that_are_no_names_are_refused(folder: Path, value: str) -> None:
    write(folder, pyfly=f"pyfly: {{profiles: {{active: {value}}}}}")
    assert "pyfly.profiles.active must be names of profiles, got" in str(refusal(folder))


def test_profile_that_activates_profiles_is_refused(folder: Path) -> None:
    write(folder, pyfly="", pyfly_a="pyfly: {profiles: {active: b}}")
    assert "works in the base file only" in str(refusal(folder, "a"))


def test_other_directory_must_exist_but_need_not_hold_the_base_file(folder: Path) -> None:
    assert load_config(folder, environ={}) == {}
    assert "directory" in str(refusal(folder / "missing"))


def test_file_with_the_other_suffix_is_not_ignored_silently(folder: Path) -> None:
    (folder / "pyfly.yml").write_text("", "utf-8")
    assert str(refusal(folder)).endswith("/pyfly.yml would be ignored; rename it to pyfly.yaml")


@for_each(
    ("variable", "section"),
    [
        ("PYFLY_SESSION_COOKIE_NAME", {"cookie-name": "1"}),
        ("PYFLY_SESSION_COOKIE_SECURE", {"cookie": {"secure": "1"}}),
        ("PYFLY_SESSION_REDIS_MAX_CONNECTIONS", {"redis": {"max-connections": "1"}}),
    ],
)
def test_variables_name_properties(folder: Path, variable: str, section: dict[str, Any]) -> None:
    config = load_config(folder, environ={variable: "1"})
    assert session(config) == section
    assert isinstance(bind_properties(config), SessionProperties)


def test_variable_wins_over_files_and_is_not_a_placeholder(folder: Path) -> None:
    write(folder, pyfly="pyfly: {session: {redis: {key-prefix: '${UNSET}'}}}")
    config = load_config(folder, environ={"PYFLY_SESSION_REDIS_KEY_PREFIX": "${X}:"})
    assert session(config)["redis"]["key-prefix"] == "${X}:"
    assert type(session(config)["redis"]["key-prefix"]) is str


def test_wrong_value_of_a_variable_is_refused_by_its_name(folder: Path) -> None:
    error = refusal(folder, PYFLY_SESSION_TTL="soon")
    assert str(error).endswith("got 'soon' (environment variable PYFLY_SESSION_TTL)")


def test_unknown_variable_is_refused_with_a_proposal(folder: Path) -> None:
    error = refusal(folder, PYFLY_SESSION_TLL=PASSWORD)
    assert str(error) == (
        "the environment variable PYFLY_SESSION_TLL names no known property;"
        " did you mean PYFLY_SESSION_TTL?"
    )
    error = refusal(folder, PYFLY_SESSION_="")
    assert "known are PYFLY_SESSION_ENABLED, PYFLY_SESSION_STORE, " in str(error)


def test_variables_of_others_are_ignored(folder: Path) -> None:
    environ = {
        "PYFLY_SESSION": "x", "PYFLY_SECURITY_KEY": "x", "PYFLY_SESSION_SERVICE_HOST": "10.0.0.1",
        "PYFLY_SESSION_SERVICE_PORT_HTTP": "80", "PYFLY_SESSION_REDIS_PORT": "tcp://10.0.0.1:80",
        "PYFLY_SESSION_PORT_80_TCP_ADDR": "10.0.0.1",
    }  # fmt: skip
    assert load_config(folder, environ=environ) == {}


def test_variable_reaches_a_key_that_only_the_file_knows(folder: Path) -> None:
    write(folder, pyfly="pyfly: {session: {redis: {odd_key: 1}}}")
    error = refusal(folder, PYFLY_SESSION_REDIS_ODD_KEY="1")
    assert error.key == "pyfly.session.redis.odd_key"
    assert error.origin == "environment variable PYFLY_SESSION_REDIS_ODD_KEY"


LOGIN = "PYFLY_SECURITY_OAUTH2_"
REGISTRATION = f"{LOGIN}CLIENT_REGISTRATIONS_"
SHOPS = (
    "pyfly: {security: {oauth2: {client: {registrations: {green: {client-id: shop, issuer-uri:"
    " 'https://g.test'}, my-shop: {client-id: s, issuer-uri: 'https://s.test'}}}}}}"
)


def registrations(config: Mapping[str, Any]) -> Any:
    return config["pyfly"]["security"]["oauth2"]["client"]["registrations"]


def test_variables_name_properties_of_the_login(folder: Path) -> None:
    write(folder, pyfly=SHOPS)
    environ = {
        f"{LOGIN}CLIENT_ENABLED": "yes",
        f"{LOGIN}LOGIN_ENABLED": "on",
        f"{LOGIN}LOGIN_DEFAULT_TARGET": "/home",
        f"{REGISTRATION}GREEN_CLIENT_SECRET": PASSWORD,
        f"{REGISTRATION}MY_SHOP_SCOPES": "openid,email",
    }
    config = load_config(folder, environ=environ)
    bound = bind_oauth2_properties(config)
    assert (bound.client.enabled, bound.login.enabled) == (True, True)
    assert bound.login.default_target == "/home"
    assert bound.registrations["green"].client_secret == PASSWORD
    assert bound.registrations["green"].client_id == "shop"
    assert bound.registrations["my-shop"].scopes == ("openid", "email")
    assert config.origins["pyfly.security.oauth2.client.registrations.my-shop.scopes"] == (
        f"environment variable {REGISTRATION}MY_SHOP_SCOPES"
    )
    assert PASSWORD not in repr(config)


def test_variables_make_a_registration_whose_id_is_one_word(folder: Path) -> None:
    environ = {
        f"{REGISTRATION}BLUE_CLIENT_ID": "shop",
        f"{REGISTRATION}BLUE_ISSUER_URI": "https://blue.test",
    }
    bound = bind_oauth2_properties(load_config(folder, environ=environ))
    assert list(bound.registrations) == ["blue"]
    assert bound.registrations["blue"].issuer_uri == "https://blue.test"


def test_a_variable_reaches_the_registration_of_the_file_in_its_own_spelling(folder: Path) -> None:
    write(folder, pyfly=SHOPS.replace("green", "Gr.een~"))
    config = load_config(folder, environ={f"{REGISTRATION}GR_EEN__CLIENT_ID": "x"})
    assert registrations(config)["Gr.een~"]["client-id"] == "x"
    assert set(registrations(config)) == {"Gr.een~", "my-shop"}


@for_each(
    ("variable", "message"),
    [
        (f"{LOGIN}LOGIN_ENABLD", f"did you mean {LOGIN}LOGIN_ENABLED?"),
        (f"{LOGIN}X", f"known are {LOGIN}CLIENT_ENABLED, "),
        (f"{REGISTRATION}GREEN_CLIENT_SECERT", f"mean {REGISTRATION}GREEN_CLIENT_SECRET?"),
        (f"{REGISTRATION}GREAN_CLIENT_SECRET", f"mean {REGISTRATION}GREEN_CLIENT_SECRET?"),
        (f"{REGISTRATION}GREEN_X", f"known are {REGISTRATION}GREEN_CLIENT_ID, "),
        # A secret alone makes no registration, and two words could be spelled in two ways.
        (f"{REGISTRATION}BLUE_CLIENT_SECRET", "the registrations are green, my-shop; add one"),
        (f"{REGISTRATION}THE_DEEP_BLUE_CLIENT_ID", "if its id is one word, by "),
        (f"{REGISTRATION}CLIENT_ID", "the registrations are green, my-shop; add one"),
    ],
)
def test_unknown_variable_of_login_is_refused(folder: Path, variable: str, message: str) -> None:
    write(folder, pyfly=SHOPS)
    error = refusal(folder, **{variable: PASSWORD})
    assert str(error).startswith(f"the environment variable {variable} names no known property")
    assert message in str(error)
    assert PASSWORD not in str(error)


def test_a_variable_that_fits_two_registrations_is_refused(folder: Path) -> None:
    write(folder, pyfly=SHOPS.replace("green", "my_shop"))
    error = refusal(folder, **{f"{REGISTRATION}MY_SHOP_CLIENT_ID": "x"})
    assert "names both pyfly.security.oauth2.client.registrations.my-shop.client-id" in str(error)
    assert "and pyfly.security.oauth2.client.registrations.my_shop.client-id" in str(error)


def test_variables_of_other_sections_and_of_platforms_are_ignored(folder: Path) -> None:
    environ = {
        f"{LOGIN}RESOURCE_SERVER_JWKS_URI": "x", f"{LOGIN}TOKEN_STORE_TYPE": "x",
        f"{LOGIN}SERVICE_HOST": "10.0.0.1", f"{LOGIN}PORT_80_TCP_ADDR": "10.0.0.1",
    }  # fmt: skip
    assert load_config(folder, environ=environ) == {}


def test_variable_of_a_registration_does_not_hide_one_that_is_no_section(folder: Path) -> None:
    write(
        folder, pyfly=f"pyfly: {{security: {{oauth2: {{client: {{registrations: {PASSWORD}}}}}}}}}"
    )
    error = refusal(folder, **{f"{REGISTRATION}GREEN_CLIENT_ID": "x"})
    assert str(error).startswith("pyfly.security.oauth2.client.registrations must be a section")
    assert PASSWORD not in str(error)


def test_variable_does_not_hide_a_section_that_is_none(folder: Path) -> None:
    write(folder, pyfly="pyfly: {session: {redis: oops}}")
    error = refusal(folder, PYFLY_SESSION_REDIS_TIMEOUT="1")
    assert str(error).startswith("pyfly.session.redis must be a section")


def test_what_is_wrong_above_all_sections_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "pyfly.yaml").write_text("pyfly: (", "utf-8")
    with pytest.raises(
        ConfigurationError, match=r"(?m)^pyfly must be a section [^\n]+, got '\('[^\n]+$"
    ):
        load_config(tmp_path, environ={})


def _pickled(config: Config) -> Config:
    copied: Config = pickle.loads(pickle.dumps(config))  # noqa: S301 - our own bytes
    return copied


def test_config_is_a_dict_whose_copies_keep_the_origins(folder: Path) -> None:
    write(folder, pyfly="pyfly: {session: {ttl: 5}}", pyfly_a="")
    config = load_config(folder, "a", environ={})
    for twin in (copy.copy(config), copy.deepcopy(config), _pickled(config)):
        assert twin == config == {"pyfly": {"session": {"ttl": 5}}}
        assert (twin.origins, twin.profiles) == (config.origins, ("a",))
    assert (bind_properties(dict(config)).ttl, Config().origins) == (5, {})


def test_error_after_loading_still_names_the_origin(folder: Path) -> None:
    write(folder, pyfly="pyfly: {session: {ttl: 5}}")
    config = load_config(folder, environ={})
    session(config)["ttl"] = 0
    with pytest.raises(ConfigurationError, match=r"(?m)got 0 \(.*pyfly\.yaml\)$"):
        bind_properties(config)
    with pytest.raises(ConfigurationError, match=r"(?m)got 0$"):
        bind_properties(dict(config))


def test_repr_of_the_config_tells_where_values_came_from_and_not_the_values(folder: Path) -> None:
    write(folder, pyfly=f"app: ['redis://:{PASSWORD}@h', 1]")
    config = load_config(folder, environ={"PYFLY_SESSION_REDIS_PASSWORD": PASSWORD})
    assert f"'app': '{folder / 'pyfly.yaml'}'" in repr(config)
    assert "'environment variable PYFLY_SESSION_REDIS_PASSWORD'" in repr(config)
    assert PASSWORD not in repr(config)


@for_each("profile", ["", "dev", "test", "prod"])
def test_shipped_profiles_are_valid(profile: str) -> None:
    assert bind_properties(load_config(SHIPPED, profile, environ={})).enabled is True


def test_shipped_base_spells_out_the_defaults() -> None:
    assert bind_properties(load_config(SHIPPED, "", environ={})) == SessionProperties(enabled=True)


def test_shipped_production_profile_is_safe() -> None:
    url = f"rediss://:{PASSWORD}@redis:6379/1"
    properties = bind_properties(load_config(SHIPPED, "prod", environ={"REDIS_URL": url}))
    assert (properties.store, properties.fail_fast) == ("redis", True)
    assert (properties.creation, properties.max_lifetime) == ("if-required", 43200)
    assert properties.cookie.secure
    assert properties.redis.url == url
