"""One instance of the stack: its name, folders, ports and passwords, and the file that remembers them.

The file lets a restart keep ports and data, and lets `status` answer without asking a process. Choosing
ports is `ports.py`'s business, starting processes `stack.py`'s.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

from service.devstack.errors import StackError

HOST = "127.0.0.1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_BROKER = re.compile(r"kafka(-\d+)?")
_API = re.compile(r"api(-\d+)?")
STATE_FILE = "state.json"


class Profile(Enum):
    """Which topology an instance has."""

    DEV = "dev"
    """Kafka in KRaft mode, ports of its own, generated passwords, and the application."""
    SEED = "seed"
    """docker-compose.test.yml without containers: its versions, ports and passwords; services only."""
    CLUSTER = "cluster"
    """As dev, with three brokers that replicate everything and several of each application process; no Flower."""

    @property
    def start_waves(self) -> tuple[tuple[str, ...], ...]:
        """Names of the profile's services, which are also the names of their ports, in the order they may start."""
        if self is Profile.SEED:
            return (("zookeeper",), ("postgres", "kafka", "redis"))
        brokers = ("kafka-1", "kafka-2", "kafka-3") if self is Profile.CLUSTER else ("kafka",)
        return (("postgres", *brokers, "redis", "tool-server"),)

    @property
    def services(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(name for wave in self.start_waves for name in wave)


@dataclass(frozen=True)
class Passwords:
    """Passwords of the services that have any. Never printed but in `status --json` and `env`."""

    superuser: str
    owner: str
    login: str
    redis: str
    payload_key: str = ""
    """Seals payloads, in hexadecimal; empty for an instance that is older than sealing, and for the seed."""

    @classmethod
    def generate(cls) -> Passwords:
        """New random passwords that need no quoting in URLs, SQL or configuration files."""
        superuser, owner, login, redis = (secrets.token_hex(16) for _ in range(4))
        return cls(superuser, owner, login, redis, payload_key=secrets.token_hex(32))


SEED_PASSWORDS = Passwords(superuser="postgres", owner="postgres", login="postgres", redis="redis")


@dataclass(frozen=True)
class Instance:
    """Everything that is fixed while an instance runs."""

    name: str
    profile: Profile
    home: Path
    ports: Mapping[str, int]
    passwords: Passwords
    cluster_id: str
    tenants: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Demo tenants: {tenant id: {"api_key": …}}."""
    samples: Mapping[str, Any] = field(default_factory=dict)
    """Bodies for `POST /exceptions`: {sample name: body}."""

    @property
    def logs(self) -> Path:
        """Folder with one log file a process."""
        return self.home / "logs"

    @property
    def data(self) -> Path:
        """Folder with one data folder a service."""
        return self.home / "data"

    @property
    def conf(self) -> Path:
        """Folder with generated configuration; it holds passwords."""
        return self.home / "conf"

    def address(self, service: str) -> str:
        """host:port of a service."""
        return f"{HOST}:{self.ports[service]}"

    def postgres_url(self, user: str, password: str, database: str) -> str:
        """A libpq URL of this instance's PostgreSQL."""
        return f"postgresql://{user}:{password}@{self.address('postgres')}/{database}"

    @property
    def brokers(self) -> tuple[str, ...]:
        """Names of the Kafka brokers, in the order of their node ids, which count from 1."""
        # By number, whatever the order in which the ports were chosen.
        return tuple(sorted((name for name in self.ports if _BROKER.fullmatch(name)), key=lambda n: (len(n), n)))

    @property
    def bootstrap_servers(self) -> str:
        """host:port of every broker, separated by commas."""
        return ",".join(self.address(broker) for broker in self.brokers)

    @property
    def api_urls(self) -> dict[str, str]:
        """The http URL of each API process by its name; empty where the profile has none."""
        return {name: f"http://{self.address(name)}" for name in sorted(self.ports) if _API.fullmatch(name)}

    @property
    def api_url(self) -> str | None:
        """The URL of the first API process."""
        return next(iter(self.api_urls.values()), None)

    @property
    def database_name(self) -> str:
        """The application's database."""
        return "sentinai_test" if self.profile is Profile.SEED else "sentinai"

    @property
    def superuser_url(self) -> str:
        """For bootstrap only: it may do anything."""
        return self.postgres_url("postgres", self.passwords.superuser, "postgres")

    @property
    def owner_url(self) -> str:
        """Owner of the schema, for migrations."""
        user = "postgres" if self.profile is Profile.SEED else "sentinai_owner"
        return self.postgres_url(user, self.passwords.owner, self.database_name)

    @property
    def database_url(self) -> str:
        """Login of the application."""
        user = "postgres" if self.profile is Profile.SEED else "sentinai_login"
        return self.postgres_url(user, self.passwords.login, self.database_name)

    @property
    def redis_url(self) -> str:
        """Redis database 0 with its password."""
        return f"redis://:{self.passwords.redis}@{self.address('redis')}/0"

    def url(self, service: str, path: str = "") -> str | None:
        """http URL of a service, or None where the profile has none."""
        return f"http://{self.address(service)}{path}" if service in self.ports else None

    def environment(self) -> dict[str, str]:
        """The environment an application process or a test needs to use this instance."""
        variables = {
            "DATABASE_URL": self.database_url,
            "DATABASE_OWNER_URL": self.owner_url,
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "REDIS_URL": self.redis_url,
            # As many lanes as the stack has worker processes.
            "SENTINAI_LANES": "4" if self.profile is Profile.CLUSTER else "2",
            "SENTINAI_REPLICATION_FACTOR": str(min(3, len(self.brokers))),
        }
        if self.passwords.payload_key:
            variables["SENTINAI_PAYLOAD_KEYS"] = "dev=secret://env/SENTINAI_DEV_PAYLOAD_KEY"
            variables["SENTINAI_DEV_PAYLOAD_KEY"] = self.passwords.payload_key
        tool_server = self.url("tool-server")
        if tool_server is not None:
            variables["SENTINAI_TOOL_SERVER_URL"] = tool_server
            variables["SENTINAI_PACK_VARIABLES"] = f"toolServerUrl={tool_server}"
            # Exactly this one and nothing else, public or not.
            variables["SENTINAI_EGRESS_ALLOW"] = self.address("tool-server")
            variables["SENTINAI_EGRESS_HOSTS"] = self.address("tool-server")
        return variables


def check_name(name: str) -> str:
    """Return a usable instance name, or raise StackError."""
    if not _NAME.fullmatch(name):
        raise StackError(f"{name!r} cannot name a stack: use up to 64 letters, digits, dots, dashes and underscores")
    return name


def new_cluster_id() -> str:
    """A Kafka cluster id: a base64 UUID. Kafka's command line takes one that starts with a dash for an option."""
    text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return text if not text.startswith("-") else new_cluster_id()


def load(home: Path) -> Instance | None:
    """Read the instance remembered under a folder, or None when there is none."""
    path = home / STATE_FILE
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        values = {**raw, "profile": Profile(raw["profile"]), "passwords": Passwords(**raw["passwords"])}
        return Instance(home=home, **values)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        raise StackError(f"{path} cannot be read; remove the folder {home} to start afresh") from None


def save(instance: Instance) -> None:
    """Remember an instance: the file is replaced as a whole and readable by its owner only."""
    values = {**asdict(instance), "profile": instance.profile.value}
    del values["home"]
    text = json.dumps(values, indent=2, ensure_ascii=False)
    write_private(instance.home / STATE_FILE, text)


def with_demo(instance: Instance, tenants: Mapping[str, Mapping[str, str]], samples: Mapping[str, Any]) -> Instance:
    """The instance knowing its demo tenants and sample bodies; saved."""
    known = replace(instance, tenants=dict(tenants), samples=dict(samples))
    save(known)
    return known


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically with one that only its owner can read."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    temporary.replace(path)
