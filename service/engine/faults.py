"""What fails while one exception of a batch is worked: its own failure, whatever it is."""

from __future__ import annotations

import logging

from service.engine.course import Course
from service.engine.failures import StageFaultError
from service.errors import PermanentError, TransientError

log = logging.getLogger(__name__)


class faults_of:
    """A context: what fails about one exception is its own failure; a fault of ours must not hold up its batch."""

    __slots__ = ("_course",)

    def __init__(self, course: Course) -> None:
        self._course = course

    def __enter__(self) -> None:
        """Nothing has failed yet."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        """Note a failure; whether it ends here."""
        if error is None:
            return False
        if isinstance(error, TransientError | MemoryError) or not isinstance(error, Exception):
            return False
        course = self._course
        if not isinstance(error, PermanentError):
            log.error("the tool stage failed on exception %s", course.reference.exception_id, exc_info=error)
            error = StageFaultError(error)
        course.fail(error)
        return True
