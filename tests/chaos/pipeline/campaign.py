"""Many rounds, one after the other: on the same world while all is well, on a fresh one after a failure."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from confluent_kafka import KafkaException

from service.errors import SentinaiError
from tests.chaos.pipeline.evidence import keep, keep_logs
from tests.chaos.pipeline.plan import Round, Scale
from tests.chaos.pipeline.profiles import Profile, Worlds, worlds
from tests.chaos.pipeline.report import Line, as_document, from_document, told
from tests.chaos.pipeline.rounds import QUIET_WITHIN, Outcome, RoundRunner
from tests.chaos.pipeline.world import World

Say = Callable[[str], None]

_PREVENTED = (SentinaiError, AssertionError, OSError, KafkaException)
"""What keeps a round from being carried out: something that was to be there was not."""
_MOST_IN_A_ROW = 3


class NotCarriedOutError(Exception):
    """Some rounds have no verdict."""

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} rounds could not be carried out; their logs are kept")


@dataclass(frozen=True)
class Campaign:
    """How rounds are run, and what is kept of them."""

    profile: Profile
    scale: Scale
    folder: Path
    say: Say
    keep_all: bool = False
    """Keep the evidence of good rounds as well."""
    patience: float = QUIET_WITHIN
    """Seconds after the last fault within which everything is at rest."""

    def run(self, plans: Iterable[Round]) -> Iterator[Line]:
        """Each round, as it ends. One that could not be carried out is told of and passed over, in a fresh world.

        Raises NotCarriedOutError after the last when there were such rounds, and at once when nothing works any more.
        """
        failed = in_a_row = 0
        with worlds(self.profile, self.say) as opened:
            for plan in plans:
                self.say(f"seed {plan.seed} round {plan.number}: {', '.join(plan.faults) or 'no fault'}")
                try:
                    line = self._one(opened, plan)
                except _PREVENTED as error:
                    self.say(f"not carried out: {type(error).__name__}: {error}")
                    failed, in_a_row = failed + 1, in_a_row + 1
                    if in_a_row == _MOST_IN_A_ROW:
                        break
                    continue
                in_a_row = 0
                self.say(told(line))
                yield line
        if failed:
            raise NotCarriedOutError(failed)

    def _one(self, opened: Worlds, plan: Round) -> Line:
        world = opened.current(self.profile.needs(plan.faults))
        try:
            outcome = self._runner(world).run(plan, self.scale.tenants)
            evidence = self._kept(outcome, world)
        except _PREVENTED:
            keep_logs(world, self.folder / f"not-carried-out-{plan.name}")
            opened.abandon()
            raise
        if outcome.verdict:
            opened.abandon()
        return Line.of(outcome, evidence)

    def _runner(self, world: World) -> RoundRunner:
        return RoundRunner(world, self.profile.faults(), self.say, self.patience)

    def _kept(self, outcome: Outcome, world: World) -> str | None:
        if not outcome.verdict and not self.keep_all:
            return None
        about = {"profile": self.profile.name, "scale": asdict(self.scale)}
        return str(keep(outcome, world, self.folder, about))


class Results:
    """A file with a line of JSON for each round, so that a long campaign goes on where it was interrupted."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def lines(self) -> list[Line]:
        """Every round so far."""
        if not self._file.exists():
            return []
        return [from_document(json.loads(text)) for text in self._file.read_text("utf-8").splitlines() if text]

    def add(self, line: Line) -> None:
        """Remember one more."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(as_document([line])[0]) + "\n")


def until(plans: Iterable[Round], seconds: float) -> Iterator[Round]:
    """Plans, as long as there is time to begin another."""
    deadline = time.monotonic() + seconds
    for plan in plans:
        if time.monotonic() > deadline:
            return
        yield plan
