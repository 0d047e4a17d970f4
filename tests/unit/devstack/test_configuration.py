"""What is written for supervisord and Kafka, and what an instance remembers."""

from __future__ import annotations

import configparser
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from service.devstack import kafka
from service.devstack.adjustments import Adjustments
from service.devstack.applications import programs
from service.devstack.errors import StackError
from service.devstack.instance import (
    SEED_PASSWORDS,
    Instance,
    Passwords,
    Profile,
    check_name,
    load,
    new_cluster_id,
    save,
    with_demo,
)
from service.devstack.ports import CLUSTER_PORTS, DEV_PORTS, SEED_PORTS
from service.devstack.programs import Program
from service.devstack.supervision import render, socket_path
from service.settings import load_settings
from service.tools.egress import EgressRefusedError
from service.wiring import egress_guard


def _dev(home: Path) -> Instance:
    ports = {name: 20_000 + n for n, name in enumerate(DEV_PORTS)}
    return Instance("dev", Profile.DEV, home, ports, Passwords("s", "o", "l", "r"), "cluster")


def _seed(home: Path) -> Instance:
    return Instance("seed", Profile.SEED, home, SEED_PORTS, SEED_PASSWORDS, "cluster")


def _parsed(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    return parser


def test_every_program_is_supervised_and_none_starts_before_its_turn(tmp_path: Path) -> None:
    # given two programs, one with an environment that has to be quoted
    programs = [
        Program("a", ("run", "a b", "100%"), tmp_path, {"URL": 'x"%y\\'}),
        Program("b", ("run",), tmp_path, stop_signal="INT"),
    ]
    # when the configuration is written
    config = _parsed(render(_dev(tmp_path), programs))
    # then both restart by themselves but wait to be started, and nothing is expanded or cut
    for name in ("a", "b"):
        assert config[f"program:{name}"]["autorestart"] == "true"
        assert config[f"program:{name}"]["autostart"] == "false"
    assert config["program:a"]["command"] == "run 'a b' 100%%"
    assert config["program:a"]["environment"] == r'URL="x\"%%y\\"'
    assert config["program:b"]["stopsignal"] == "INT"


def test_a_path_supervisord_would_cut_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="move the clone"):
        render(_dev(tmp_path / "a ;b"), [])


def test_a_deep_folder_has_its_socket_elsewhere(tmp_path: Path) -> None:
    near, deep = _dev(Path("/srv/clone/.stack/dev")), _dev(tmp_path / ("d" * 100))
    assert socket_path(near).parent == near.home
    assert len(str(socket_path(deep))) < 90
    assert socket_path(deep) != socket_path(replace(deep, home=tmp_path / ("e" * 100)))


def test_the_application_finds_its_services_by_the_environment(tmp_path: Path) -> None:
    # given the environment of a dev instance
    instance = _dev(tmp_path)
    settings = load_settings(instance.environment())
    # then the product's settings accept it, and the login of the application is not the owner's
    assert settings.database_url == "postgresql://sentinai_login:l@127.0.0.1:20000/sentinai"
    assert settings.owner_url == "postgresql://sentinai_owner:o@127.0.0.1:20000/sentinai"
    assert settings.kafka_bootstrap_servers == "127.0.0.1:20001"
    assert settings.redis_url == "redis://:r@127.0.0.1:20003/0"
    assert settings.egress_allow == ("127.0.0.1:20004",)


def test_the_demo_stack_lets_tools_be_called_on_its_own_tool_server_and_nowhere_else(tmp_path: Path) -> None:
    guard = egress_guard(load_settings(_dev(tmp_path).environment()))
    guard.checked("http://127.0.0.1:20004/settle")
    for url in ("https://tool.example/x", "https://8.8.8.8/x", "http://127.0.0.1:20001/", "https://127.0.0.1:20004.x/"):
        with pytest.raises(EgressRefusedError):
            guard.checked(url)


def test_no_password_is_on_a_command_line(tmp_path: Path) -> None:
    passwords = Passwords.generate()
    instance = replace(_dev(tmp_path), passwords=passwords)
    words = [word for program in programs(instance, tmp_path, Adjustments()) for word in program.command]
    assert not any(secret in word for secret in vars(passwords).values() for word in words)
    assert len(set(vars(passwords).values())) == 5


def test_the_seed_is_what_the_guide_says(tmp_path: Path) -> None:
    seed = _seed(tmp_path)
    assert seed.database_url == "postgresql://postgres:postgres@127.0.0.1:5433/sentinai_test"
    assert seed.redis_url == "redis://:redis@127.0.0.1:6380/0"
    assert kafka.broker_properties(seed, "kafka")["zookeeper.connect"] == "127.0.0.1:2182"
    assert kafka.broker_properties(seed, "kafka")["advertised.listeners"] == "PLAINTEXT://localhost:9093"
    assert "process.roles" not in kafka.broker_properties(seed, "kafka")


def test_a_cluster_keeps_everything_three_times(tmp_path: Path) -> None:
    # given a cluster that chose the ports of its brokers in some other order
    ports = {name: 20_000 + n for n, name in enumerate(reversed(CLUSTER_PORTS))}
    cluster = Instance("cluster", Profile.CLUSTER, tmp_path, ports, Passwords("s", "o", "l", "r"), "cluster")
    properties = [kafka.broker_properties(cluster, broker) for broker in cluster.brokers]
    # then the brokers are numbered as they are called, agree on the quorum, and confirm what two of them have
    assert [one["node.id"] for one in properties] == ["1", "2", "3"]
    assert len({one["controller.quorum.voters"] for one in properties}) == 1
    assert {one["min.insync.replicas"] for one in properties} == {"2"}
    # and the application makes its topics so
    settings = load_settings(cluster.environment())
    assert settings.replication_factor == 3
    assert settings.kafka_bootstrap_servers.count(",") == 2
    # and every process of the table is there to be broken as often as one likes
    config = _parsed(render(cluster, programs(cluster, tmp_path, Adjustments(worker_app="tests.poisoned"))))
    assert {config[section].get("startretries") for section in config if ":" in section and "program" in section} == {
        "1000000"
    }
    assert "-A tests.poisoned worker" in config["program:worker-2"]["command"]
    assert "-A tasks beat" in config["program:beat"]["command"]


def test_everything_listens_on_loopback_only(tmp_path: Path) -> None:
    for instance in (_dev(tmp_path), _seed(tmp_path)):
        for listener in kafka.broker_properties(instance, "kafka")["listeners"].split(","):
            assert listener.split("//")[1].startswith("127.0.0.1:")
    assert kafka.zookeeper_properties(_seed(tmp_path))["clientPortAddress"] == "127.0.0.1"


def test_an_instance_remembers_itself_for_its_owner_only(tmp_path: Path) -> None:
    # given an instance that got demo tenants
    known = with_demo(_dev(tmp_path), {"T": {"api_key": "k"}}, {"straight": {"a": 1}})
    # then it is read back whole, from a file nobody else can read
    assert load(tmp_path) == known
    assert stat.S_IMODE((tmp_path / "state.json").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.parametrize("text", ["", "{", "{}", '{"profile": "other"}', "[]"])
def test_a_damaged_state_file_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(StackError, match="remove the folder"):
        load(tmp_path)


def test_no_state_is_no_instance(tmp_path: Path) -> None:
    assert load(tmp_path) is None


@pytest.mark.parametrize("name", ["", "..", "a/b", "-x", "x" * 65, "a b"])
def test_a_name_that_is_no_folder_name_is_refused(name: str) -> None:
    with pytest.raises(StackError, match="cannot name a stack"):
        check_name(name)


def test_a_cluster_id_is_never_taken_for_an_option() -> None:
    ids = {new_cluster_id() for _ in range(500)}
    assert len(ids) == 500
    assert all(len(text) == 22 and not text.startswith("-") for text in ids)


def test_saving_replaces_what_was_saved(tmp_path: Path) -> None:
    save(_dev(tmp_path))
    save(replace(_dev(tmp_path), cluster_id="other"))
    loaded = load(tmp_path)
    assert loaded is not None
    assert loaded.cluster_id == "other"
