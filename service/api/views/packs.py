"""Packs over HTTP: checked, stored as drafts, tested, backtested, activated and rolled back.

`/packs/domain/{name}` and `/packs/tenant` offer the same; operators may read, test and backtest, admins change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flask import Blueprint, Response, request
from pydantic import ValidationError

from service.api import pack_presenting as presenting
from service.api import pack_schemas as schemas
from service.api.auth import Role
from service.api.context import answer, caller_with, services
from service.api.limits import check_storable
from service.api.pack_bodies import command_body, pack_body, pack_invalid
from service.api.problems import (
    CHANGED_MEANWHILE,
    INVALID,
    NOT_FOUND,
    PACK_CONFLICT,
    TESTS_FAIL,
    ProblemError,
    invalid,
)
from service.domain.packs import Fault, PackInvalidError
from service.domain.packs.reading.documents import PackDocument, PackKind
from service.engine.pack_history import VersionState, versions_of
from service.engine.pack_life import (
    ChangedMeanwhileError,
    DoesNotFitError,
    Instruction,
    PackLife,
    TestsFailError,
)
from service.engine.pack_pairs import NotPossibleError, PackKey, report_of
from service.persistence import packs as stored
from service.persistence.administration import Caller
from service.persistence.packs import TENANT_PACK, PackUnknownError, ReportKey
from service.persistence.unit_of_work import Transaction, unit_of_work

blueprint = Blueprint("packs", __name__, url_prefix="/packs")

View = Callable[..., Response]


def of_a_pack(suffix: str, method: str, of: Blueprint = blueprint) -> Callable[[View], View]:
    """Offer a view for domain packs and for the tenant pack; it gets the pack's key first."""

    def register(view: View) -> View:
        def for_domain(name: str, **parts: Any) -> Response:
            key = PackKey(PackKind.DOMAIN, name)
            if "\x00" in name:
                raise _no_pack(key)
            return view(key, **parts)

        def for_tenant(**parts: Any) -> Response:
            return view(PackKey(PackKind.TENANT, TENANT_PACK), **parts)

        of.add_url_rule(f"/domain/<name>{suffix}", f"{view.__name__}_domain", for_domain, methods=[method])
        of.add_url_rule(f"/tenant{suffix}", f"{view.__name__}_tenant", for_tenant, methods=[method])
        return view

    return register


@blueprint.get("")
def list_packs() -> Response:
    """Every version of every pack of the tenant."""
    caller = caller_with(Role.OPERATOR)
    with transaction_of(caller) as transaction:
        found = versions_of(transaction, caller.tenant_id, services().now())
    return answer(schemas.PackList(items=[presenting.summary(one) for one in found]))


@of_a_pack("", "GET")
def get_pack(key: PackKey) -> Response:
    """The newest version; its ETag is what a change names in If-Match."""
    caller = caller_with(Role.OPERATOR)
    with transaction_of(caller) as transaction:
        versions = _versions(transaction, caller, key)
        shown = _detail(transaction, caller, key, versions, versions[-1].entry.version)
    return _tagged(answer(shown), shown.newest_version)


@of_a_pack("", "PUT")
def put_pack(key: PackKey) -> Response:
    """Store a pack as the next version, a draft."""
    caller = caller_with(Role.ADMIN)
    given = pack_body(key, caller.tenant_id)
    comment = _comment()
    with transaction_of(caller) as transaction:
        life = _life(transaction, caller)
        checked = _checked(life, key, given)
        put = life.put(key, given.document, comment, _expected())
        (state,) = {one.state for one in _versions(transaction, caller, key) if one.entry.version == put.version}
    told = schemas.PackStored(
        **checked.model_dump(),
        version=put.version,
        created=put.created,
        state=state,
    )
    return _tagged(answer(told), put.version)


@of_a_pack("/validate", "POST")
def validate(key: PackKey) -> Response:
    """Check a pack without storing it."""
    caller = caller_with(Role.OPERATOR)
    given = pack_body(key, caller.tenant_id)
    with transaction_of(caller) as transaction:
        return answer(_checked(_life(transaction, caller), key, given))


@of_a_pack("/test", "POST")
def test(key: PackKey) -> Response:
    """Run a version's test suites; the report is kept with it."""
    caller = caller_with(Role.OPERATOR)
    wanted = command_body(schemas.PackTest)
    with transaction_of(caller) as transaction:
        version = wanted.version or newest_of(transaction, caller, key)
        pair, results = _life(transaction, caller).test(key, version, wanted.other_version)
    return answer(schemas.PackTestReport.model_validate(report_of(pair, results), by_alias=True))


@of_a_pack("/activate", "POST")
def activate(key: PackKey) -> Response:
    """Make a version the one that decides, now or from an instant on."""
    caller = caller_with(Role.ADMIN)
    wanted = command_body(schemas.PackActivation)
    refused: TestsFailError | None = None
    with transaction_of(caller) as transaction:
        version = wanted.version or newest_of(transaction, caller, key)
        try:
            how = Instruction(wanted.at, wanted.comment, wanted.force)
            number = _life(transaction, caller).activate(key, version, how)
            told = presenting.activated(key, _versions(transaction, caller, key), version, number)
        except TestsFailError as error:
            refused = error  # The transaction commits: the report of the tests is kept with the version.
    if refused is not None:
        raise _tests_fail(refused)
    return answer(told)


@of_a_pack("/rollback", "POST")
def rollback(key: PackKey) -> Response:
    """Bring the version before back, or take back what is scheduled."""
    caller = caller_with(Role.ADMIN)
    wanted = command_body(schemas.PackRollback)
    with transaction_of(caller) as transaction:
        newest_of(transaction, caller, key)
        life = _life(transaction, caller)
        withdrawn = life.withdraw(key, wanted.comment) if wanted.scheduled else []
        if not wanted.scheduled:
            life.rollback(key, wanted.comment)
        versions = _versions(transaction, caller, key)
    return answer(
        schemas.PackRolledBack(
            kind=key.kind,
            name=key.name,
            active_version=presenting.active_version(versions),
            withdrawn=withdrawn,
        )
    )


@of_a_pack("/versions", "GET")
def list_versions(key: PackKey) -> Response:
    """Every version, oldest first."""
    caller = caller_with(Role.OPERATOR)
    with transaction_of(caller) as transaction:
        versions = _versions(transaction, caller, key)
    return answer(schemas.PackList(items=[presenting.summary(one) for one in versions]))


@of_a_pack("/versions/<int:version>", "GET")
def get_version(key: PackKey, version: int) -> Response:
    """One version with its document."""
    caller = caller_with(Role.OPERATOR)
    with transaction_of(caller) as transaction:
        return answer(_detail(transaction, caller, key, _versions(transaction, caller, key), version))


@of_a_pack("/history", "GET")
def history(key: PackKey) -> Response:
    """Who activated what when and why, newest first."""
    caller = caller_with(Role.OPERATOR)
    with transaction_of(caller) as transaction:
        newest_of(transaction, caller, key)
        return answer(presenting.history(_life(transaction, caller).history(key)))


@contextmanager
def transaction_of(caller: Caller) -> Iterator[Transaction]:
    """The caller's transaction; what the life of packs refuses becomes a problem."""
    try:
        with unit_of_work(services().engine, [caller.tenant_id]) as transaction:
            yield transaction
    except PackInvalidError as error:
        raise pack_invalid(error) from None
    except PackUnknownError as error:
        raise ProblemError(NOT_FOUND, str(error)) from None
    except ChangedMeanwhileError as error:
        raise ProblemError(CHANGED_MEANWHILE, str(error), headers={"ETag": f'"{error.newest or 0}"'}) from None
    except DoesNotFitError as error:
        raise ProblemError(PACK_CONFLICT, str(error), error.faults) from None
    except NotPossibleError as error:
        raise ProblemError(PACK_CONFLICT, str(error)) from None


def _tests_fail(error: TestsFailError) -> ProblemError:
    return ProblemError(TESTS_FAIL, str(error), [Fault(result.path, result.told) for result in error.failed])


def _life(transaction: Transaction, caller: Caller) -> PackLife:
    parts = services()
    return PackLife(transaction, caller.tenant_id, caller.name, parts.now(), parts.settings.pack_variables)


def _checked(life: PackLife, key: PackKey, given: PackDocument) -> schemas.PackChecked:
    missing = [
        Fault("", f"workers need a value for ${{{name}}} in SENTINAI_PACK_VARIABLES")
        for name in life.missing_variables(given.document)
    ]
    warnings = presenting.faults([*life.check(given), *missing])
    return schemas.PackChecked(kind=key.kind, name=key.name, warnings=warnings)


def _versions(transaction: Transaction, caller: Caller, key: PackKey) -> list[VersionState]:
    """All of a pack's versions. Raises ProblemError 404."""
    found = versions_of(transaction, caller.tenant_id, services().now(), key.kind, key.name)
    if not found:
        raise _no_pack(key)
    return found


def newest_of(transaction: Transaction, caller: Caller, key: PackKey) -> int:
    """The pack's newest version. Raises ProblemError 404."""
    newest = stored.newest_version(transaction, caller.tenant_id, key.kind, key.name)
    if newest is None:
        raise _no_pack(key)
    return newest


def _no_pack(key: PackKey) -> ProblemError:
    what = "no pack of its own" if key.kind is PackKind.TENANT else f"no domain pack {key.name!r}"
    return ProblemError(NOT_FOUND, f"your tenant has {what}; PUT one first")


def _detail(
    transaction: Transaction, caller: Caller, key: PackKey, versions: list[VersionState], number: int
) -> schemas.PackDetail:
    document = stored.get_pack(transaction, caller.tenant_id, key.kind, key.name, number)
    test = stored.get_report(transaction, caller.tenant_id, ReportKey(key.kind, key.name, number, "test"))
    return presenting.detail(versions, number, document, test.document if test else None)


def _comment() -> str | None:
    given = request.args.to_dict()
    check_storable(given)
    try:
        return schemas.PackPut.model_validate(given).comment
    except ValidationError as error:
        raise invalid(error) from None


def _expected() -> int | None:
    """The newest version that the caller knows of, from If-Match; 0 from `If-None-Match: *`."""
    if request.headers.get("If-None-Match", "").strip() == "*":
        return 0
    given = request.headers.get("If-Match")
    if given is None or given.strip() == "*":
        return None
    tag = given.strip().strip('"')
    if not (tag.isascii() and tag.isdigit() and len(tag) <= 9):
        message = "must be the ETag that GET or PUT answered"
        raise ProblemError(INVALID, f"If-Match {message}", [Fault("If-Match", message)])
    return int(tag)


def _tagged(response: Response, newest: int) -> Response:
    response.headers["ETag"] = f'"{newest}"'
    return response
