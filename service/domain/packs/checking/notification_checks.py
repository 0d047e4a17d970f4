"""What is wrong with notification policies, and what they say in vain. Policies of a wrong form are passed over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from service.domain import templates
from service.domain.packs.faults import Fault, path_of
from service.domain.packs.notifications import TOLD, NotificationPolicy
from service.domain.packs.notify import notify_faults, notify_keys


def policies_faults(policies: Sequence[Any]) -> Iterator[Fault]:
    """What a channel needs and a policy does not say, and templates that cannot be read."""
    for index, policy in _well_formed(policies):
        path = f"notificationPolicies[{index}].params"
        yield from notify_faults(path, {**policy.params, "channel": policy.channel})
        for key, value in policy.params.items():
            try:
                templates.parse(value, templates.ABOUT_EVENTS)
            except templates.TemplateError as error:
                yield Fault(path_of((key,), path), str(error))


def policies_warnings(policies: Sequence[Any]) -> Iterator[Fault]:
    """Events that nobody is told of, and keys that the channel does not know."""
    for index, policy in _well_formed(policies):
        path = f"notificationPolicies[{index}]"
        for place, event in enumerate(policy.on):
            if event not in TOLD:
                yield Fault(
                    f"{path}.on[{place}]", f"nobody is told of {event}; name an event that the pipeline decides"
                )
        for key in policy.params.keys() - notify_keys(policy.channel):
            yield Fault(path_of((key,), f"{path}.params"), f"{policy.channel} knows no {key!r}; it has no effect")


def _well_formed(policies: Sequence[Any]) -> Iterator[tuple[int, NotificationPolicy]]:
    for index, policy in enumerate(policies):
        try:
            yield index, NotificationPolicy.model_validate(policy)
        except ValidationError:
            continue
