"""How long rules and redaction take: `python -m tests.benchmarks.domain.conditions`.

200 severity rules over 500 exceptions, of which no rule matches most; the best and the median of several runs,
in CPU time, because others may be at work on the machine too.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from service.domain.exceptions import ExceptionRecord, Input, InputType, PackVersions, Stage, Status
from service.domain.packs import PackSet, build_pack_set, parse_domain_pack, parse_tenant_pack
from service.domain.redaction import Redactor
from service.domain.stages import intake, triage

RULES, EXCEPTIONS, RUNS = 200, 500, 15
NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
TYPES = [f"TYPE_{number}" for number in range(20)]


def main() -> None:
    """Measure and print."""
    for name, rules in (("of 20 types", _typed()), ("of any type", _untyped()), ("missing a field", _absent())):
        pack_set = _packs(rules)
        records = [_record(number) for number in range(EXCEPTIONS)]
        _tell(
            f"{RULES} rules {name} x {EXCEPTIONS} exceptions",
            lambda p=pack_set, r=records: [triage.decide(one, p, NOW) for one in r],
        )
    pack_set = _packs(_typed())
    records = [_record(number) for number in range(EXCEPTIONS)]
    _tell(f"intake x {EXCEPTIONS}", lambda: [intake.decide(one, pack_set, NOW) for one in records])
    _redaction(pack_set.redactor)


def _redaction(redactor: Redactor) -> None:
    payload = _record(1).raw_payload
    found = {**payload, "note": "call ada@example.org about 4111 1111 1111 1111"}
    for name, view in (("nothing to find", payload), ("a card and an address", found)):
        _tell(f"redaction of 10 fields x 1000, {name}", lambda v=view: [redactor.redact(v) for _ in range(1000)])


def _tell(what: str, work: Callable[[], Any]) -> None:
    times = []
    for _ in range(RUNS):
        began = time.process_time()
        work()
        times.append((time.process_time() - began) * 1000)
    print(f"{what}: best {min(times):.1f} ms, median {statistics.median(times):.1f} ms of {RUNS} runs")


def _typed() -> list[dict[str, str]]:
    return [
        {"condition": f"exceptionType == '{TYPES[n % 20]}' && rawPayload.amount > {n * 1000}", "severity": "HIGH"}
        for n in range(RULES, 0, -1)
    ]


def _untyped() -> list[dict[str, str]]:
    return [
        {"condition": f"rawPayload.amount > {1_000_000 + n} && sourceSystem == 'ledger'", "severity": "HIGH"}
        for n in range(RULES)
    ]


def _absent() -> list[dict[str, str]]:
    return [{"condition": f"rawPayload.missing{n} == 'x'", "severity": "HIGH"} for n in range(RULES)]


def _packs(rules: list[dict[str, str]]) -> PackSet:
    domain = parse_domain_pack(
        {"domainName": "Bench", "exceptionTypes": {name: {} for name in TYPES}, "severityRules": rules}
    )
    tenant = parse_tenant_pack({"tenantId": "BENCH", "domainName": "Bench"}, domain)
    return build_pack_set(domain, tenant, PackVersions(1, 1))


def _record(number: int) -> ExceptionRecord:
    return ExceptionRecord(
        tenant_id="BENCH",
        exception_id=UUID(int=number),
        status=Status.RECEIVED,
        resting_status=None,
        sequence=1,
        stage=Stage.TRIAGE,
        source_system="ledger",
        exception_type=TYPES[number % 20],
        reported_severity=None,
        severity=None,
        confidence=1.0,
        entity=None,
        raw_payload={
            "orderId": f"ORD-{number}", "amount": number * 10.0, "currency": "USD", "isin": "US0378331005",
            "tradeDate": "2026-01-05", "settleId": "SET-77", "quantity": 1500, "venue": "XNYS",
            "counterparty": "Northbridge Clearing", "failReason": "SSI mismatch",
        },
        occurred_at=NOW,
        received_at=NOW,
        deadline_at=None,
        pack_versions=PackVersions(1, 1),
        input=Input(InputType.INGESTED),
    )  # fmt: skip


if __name__ == "__main__":
    main()
