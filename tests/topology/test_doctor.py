"""``pyfly-session doctor`` on a cluster and behind Sentinels."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pyfly_session.cli.group import commands
from tests.topology.cluster import Cluster
from tests.topology.sentinels import Watched


def diagnose(folder: Path, redis: dict[str, Any], *options: str) -> tuple[int, str]:
    session = {"enabled": True, "store": "redis", "cookie": {"secure": True}, "redis": redis}
    # JSON is YAML.
    (folder / "pyfly.yaml").write_text(json.dumps({"pyfly": {"session": session}}), "utf-8")
    result = CliRunner().invoke(commands, ["doctor", "--config", str(folder), *options])
    return result.exit_code, result.stdout


def test_every_master_of_a_cluster_is_looked_at(
    tmp_path: Path, cluster: Cluster, cluster_properties: dict[str, Any]
) -> None:
    status, output = diagnose(tmp_path, cluster_properties, "--json")
    found = json.loads(output)["findings"]
    assert status == 0, output
    worked = {each["server"] for each in found if (each["check"], each["level"]) == ("store", "ok")}
    assert worked - {None} == set(cluster.addresses[:3])
    [state] = [each for each in found if each["check"] == "cluster"]
    assert state["message"] == "cluster_state is ok, 16384 of 16384 slots are served"
    assert [key for node in cluster.nodes[:3] for key in node.ask("KEYS", "*doctor*")] == []


def test_people_are_told_once_what_holds_for_every_master(
    tmp_path: Path, cluster: Cluster, cluster_properties: dict[str, Any]
) -> None:
    _, output = diagnose(tmp_path, cluster_properties)
    [line] = [each for each in output.splitlines() if each.startswith("ok      scripting")]
    assert all(address in line for address in cluster.addresses[:3])


@pytest.mark.usefixtures("watched")
def test_the_master_is_found_through_its_sentinels(
    tmp_path: Path, watched: Watched, sentinel_properties: dict[str, Any]
) -> None:
    status, output = diagnose(tmp_path, sentinel_properties)
    assert status == 0, output
    assert "the master sessions of the Sentinels" in output
    assert "a master; its replicas: 1" in output
    assert "min-replicas-to-write" in output


def test_sentinels_that_know_no_master_are_an_error(
    tmp_path: Path, sentinel_properties: dict[str, Any]
) -> None:
    sentinel_properties["sentinel"]["master"] = "another"
    status, output = diagnose(tmp_path, sentinel_properties)
    assert status == 1
    assert "the master another of the Sentinels" in output
    assert "cannot be used" in output
