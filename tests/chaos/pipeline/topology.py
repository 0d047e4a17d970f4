"""Which links there are between the processes of a world, and how its processes are made to use them. No I/O.

Every application process reaches PostgreSQL, Redis and the tool server by links of its own, and all of them a broker by
one, for a broker tells all clients of a listener the same address. Brokers reach each other, and each other's
controller, by a link for each pair: each asks for the others by a listener that is for it alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from service.devstack import applications, kafka
from service.devstack.instance import HOST, Instance
from tests.network.client import Way

APPLICATION = "application"
"""Where the links of all application processes to a broker come from: `application>kafka-1`."""
_TOOLS = "tool-server"


@dataclass(frozen=True)
class Topology:
    """The links of one instance. `ports` are those of :func:`port_names`."""

    instance: Instance
    ports: Mapping[str, int]

    def ways(self) -> list[Way]:
        """All links."""
        return [Way(name, self.ports[name], self._target(name)) for name in port_names(self.instance) if ">" in name]

    def environment(self, process: str) -> dict[str, str]:
        """What makes an application process use its links."""
        addresses = {
            self.instance.bootstrap_servers: ",".join(
                f"{HOST}:{self.ports[f'{APPLICATION}>{broker}']}" for broker in self.instance.brokers
            ),
            **{
                self.instance.address(service): f"{HOST}:{self.ports[f'{process}>{service}']}"
                for service in ("postgres", "redis", _TOOLS)
                if f"{process}>{service}" in self.ports
            },
        }
        changed = {name: _replaced(value, addresses) for name, value in self.instance.environment().items()}
        # A plan names the address of whoever made it, and any worker may carry it out; packs may name the tool server
        # itself as well.
        ways = [f"{HOST}:{port}" for name, port in self.ports.items() if name.endswith(f">{_TOOLS}")]
        everywhere = ",".join((*sorted(ways), self.instance.address(_TOOLS)))
        return {**changed, "SENTINAI_EGRESS_ALLOW": everywhere, "SENTINAI_EGRESS_HOSTS": everywhere}

    def broker_properties(self, broker: str) -> dict[str, str]:
        """The listeners of a broker, and the links by which it reaches the others."""
        instance = self.instance
        listeners = {"PLAINTEXT": (instance.ports[broker], instance.ports[broker])}
        listeners["APPLICATION"] = (self.ports[f"{broker}/{APPLICATION}"], self.ports[f"{APPLICATION}>{broker}"])
        for peer in instance.brokers:
            own = self.ports[f"{broker}/{peer}"]
            listeners[_listener(peer)] = (own, own if peer == broker else self.ports[f"{peer}>{broker}"])
        controller = kafka.controller_address(instance, broker)
        voters = (f"{kafka.node_id(instance, peer)}@{self._controller(broker, peer)}" for peer in instance.brokers)
        return {
            "listeners": ",".join(
                [*(f"{name}://{HOST}:{bound}" for name, (bound, _) in listeners.items()), f"CONTROLLER://{controller}"]
            ),
            "advertised.listeners": ",".join(f"{name}://{HOST}:{told}" for name, (_, told) in listeners.items()),
            "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in (*listeners, "CONTROLLER")),
            "inter.broker.listener.name": _listener(broker),
            "controller.quorum.voters": ",".join(voters),
            # Of each listener.
            "num.network.threads": "1",
        }

    def _controller(self, broker: str, peer: str) -> str:
        if peer == broker:
            return kafka.controller_address(self.instance, peer)
        return f"{HOST}:{self.ports[f'{broker}>{_controller_of(peer)}']}"

    def _target(self, way: str) -> int:
        source, _, target = way.partition(">")
        listener = f"{target}/{source}"
        return self.ports[listener] if listener in self.ports else self.instance.ports[target]


def port_names(instance: Instance) -> tuple[str, ...]:
    """What needs a port beside the stack's: links, as `from>to`, and listeners of brokers, as `broker/for`."""
    names = []
    for process in applications.names(instance.profile):
        names += [f"{process}>postgres", f"{process}>redis"]
        if applications.kind_of(process) == "worker":
            names.append(f"{process}>{_TOOLS}")
    for broker in instance.brokers:
        names += [f"{APPLICATION}>{broker}", f"{broker}/{APPLICATION}"]
        for peer in instance.brokers:
            names.append(f"{broker}/{peer}")
            if peer != broker:
                names += [f"{peer}>{broker}", f"{peer}>{_controller_of(broker)}"]
    return tuple(names)


def _controller_of(broker: str) -> str:
    return broker.replace("kafka", "kafka-controller", 1)


def _listener(peer: str) -> str:
    return f"FROM_{peer.upper().replace('-', '_')}"


def _replaced(value: str, addresses: Mapping[str, str]) -> str:
    for address, other in addresses.items():
        value = value.replace(address, other)
    return value
