"""Guards of what goes out and what is kept: addresses, secrets, sealed payloads."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

EGRESS = "service/tools/egress.py"
READERS = "service/secrets/readers.py"
SEALING = "service/persistence/sealing.py"
TEST_EGRESS = "tests/unit/tools/test_egress.py"
TEST_EGRESS_ON_THE_WIRE = "tests/unit/tools/test_egress_on_the_wire.py"
SECRETS = "tests/unit/secrets"
TEST_SEALING = "tests/unit/persistence/test_sealing.py"

MUTATIONS = (
    Mutation(
        "tools are not called on private addresses",
        EGRESS,
        "if is_public(address):",
        "if True:",
        TEST_EGRESS,
    ),
    Mutation(
        "the socket is the last gate",
        EGRESS,
        "if not is_public(address) and (address, where[1]) not in self._admitted:",
        "if False:",
        TEST_EGRESS_ON_THE_WIRE,
    ),
    Mutation(
        "what a name resolves to is checked",
        EGRESS,
        'self._guard.check_address(host, port, ip_address(result["host"]))',
        "pass",
        TEST_EGRESS_ON_THE_WIRE,
    ),
    Mutation(
        "private addresses need the operator",
        EGRESS,
        "if not self._listed(host, port):",
        "if False:",
        TEST_EGRESS,
    ),
    Mutation(
        "no redirect is followed",
        "service/tools/http_client.py",
        "allow_redirects=False",
        "allow_redirects=True",
        TEST_EGRESS_ON_THE_WIRE,
    ),
    Mutation(
        "odd spellings of an address are refused",
        "service/tools/addresses.py",
        'if not _QUAD.fullmatch(name) or host.endswith("."):',
        "if False:",
        TEST_EGRESS,
    ),
    Mutation(
        "a tenant's list of hosts is kept to",
        EGRESS,
        "elif not any(pattern.matches(host, port, default_port) for pattern in rules.hosts):",
        "elif False:",
        TEST_EGRESS,
    ),
    Mutation(
        "no symbolic link leads out of the secrets' folder",
        READERS,
        "if root not in resolved.parents:",
        "if False:",
        SECRETS,
    ),
    Mutation(
        "a tenant does not read another's variable",
        READERS,
        "if double and tenant != owner.tenant_id:",
        "if False:",
        SECRETS,
    ),
    Mutation(
        "a secret that is remembered for one tenant is no other's",
        "service/secrets/resolution.py",
        "self._remembered.get((text, owner))",
        'self._remembered.get((text, Owner("ACME")))',
        SECRETS,
    ),
    Mutation(
        "each sealing has a nonce of its own",
        SEALING,
        "nonce = self._random(_NONCE_BYTES)",
        "nonce = bytes(_NONCE_BYTES)",
        TEST_SEALING,
    ),
    Mutation(
        "a sealed value is bound to its tenant",
        SEALING,
        "(tenant_id.encode(), exception_id, slot.encode())",
        '(b"", exception_id, slot.encode())',
        TEST_SEALING,
    ),
    Mutation(
        "a sealed value is bound to its row",
        SEALING,
        "(tenant_id.encode(), exception_id, slot.encode())",
        '(tenant_id.encode(), b"", slot.encode())',
        TEST_SEALING,
    ),
    Mutation(
        "payloads are sealed",
        SEALING,
        ("if self._first is None:\n            return _UNSEALED + content"),
        ("if True:\n            return _UNSEALED + content"),
        TEST_SEALING,
    ),
)
