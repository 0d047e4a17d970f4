"""Tools of kind `smtp`: an e-mail through the operator's mail server.

| what happened                                                          | not idempotent | idempotent |
| ----------------------------------------------------------------------- | -------------- | ---------- |
| 250 after the text                                                       | CONFIRMED      | CONFIRMED  |
| no connection, no TLS in time, cut off or too slow before the text        | TRANSIENT      | TRANSIENT  |
| a certificate that is not trusted, a login or a recipient refused (5xx)   | PERMANENT      | PERMANENT  |
| 4xx at any point                                                          | TRANSIENT      | TRANSIENT  |
| 5xx at any point                                                          | PERMANENT      | PERMANENT  |
| cut off or too slow after the text began to leave                         | UNANSWERED     | TRANSIENT  |

A message goes to all its recipients or to none: one that is refused ends the transaction before the text. The
Message-ID comes from the idempotency key, so that a second copy can be recognised as one.
"""

from __future__ import annotations

import re
import smtplib
import ssl
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, formataddr, parseaddr
from typing import Any

from service.domain.packs.parameter_templates import ParameterMissingError, as_text, rendered, rendered_text
from service.errors import PermanentError
from service.resources import MailServer
from service.secrets import Secrets
from service.tools.answers import deferred, not_sent, rejected, unanswered
from service.tools.calls import Answer, PreparedCall, ToolResult

MOST_RECIPIENTS = 100
_ADDRESS = re.compile(r"[^@\s\x00-\x1f<>,;]+@[^@\s\x00-\x1f<>,;]+")


class MailInvalidError(PermanentError):
    """A message that cannot be sent; the message repeats no address."""


class _RefusedError(Exception):
    """The server said no."""

    def __init__(self, code: int, to_what: str) -> None:
        super().__init__(code, to_what)
        self.code = code
        self.to_what = to_what


class Mailer:
    """Makes the calls, each with a connection of its own; safe to use from several threads."""

    def __init__(self, server: MailServer, secrets: Secrets) -> None:
        """Opens nothing."""
        self._server = server
        self._secrets = secrets

    def __call__(self, call: PreparedCall) -> ToolResult:
        """Send one message."""
        began = time.monotonic()
        recipients, message = composed(call, self._server, datetime.now(UTC))
        login = None
        if self._server.username is not None and self._server.password is not None:
            login = (self._server.username, self._secrets.resolve_for_operator(self._server.password))
        try:
            smtp = self._ready(call.call.timeout_seconds, login)
        except ssl.SSLCertVerificationError:
            return rejected(call, "its certificate is not trusted here", time.monotonic() - began)
        except (OSError, smtplib.SMTPException, _RefusedError) as error:
            return _before(call, error, time.monotonic() - began)
        try:
            return _transaction(smtp, call, self._server.sender, recipients, message, began)
        finally:
            smtp.close()

    def _ready(self, seconds: float, login: tuple[str, str] | None) -> smtplib.SMTP:
        """A connection on which a message can be begun."""
        server = self._server
        context = ssl.create_default_context(cafile=server.caFile)
        smtp: smtplib.SMTP
        if server.security == "tls":
            smtp = smtplib.SMTP_SSL(server.host, server.port, timeout=seconds, context=context)
        else:
            smtp = smtplib.SMTP(server.host, server.port, timeout=seconds)
        try:
            smtp.ehlo_or_helo_if_needed()
            if server.security == "starttls":
                smtp.starttls(context=context)
                smtp.ehlo()
            if login is not None:
                smtp.login(*login)
        except BaseException:
            smtp.close()
            raise
        return smtp


def composed(call: PreparedCall, server: MailServer, now: datetime) -> tuple[list[str], bytes]:
    """Recipients and the message as it goes out. Raises MailInvalidError."""
    options, parameters = call.call.options, call.call.parameters
    try:
        to, cc = (_addresses(options.get(key, ()), parameters) for key in ("to", "cc"))
        subject = rendered_text(options["subject"], parameters) or ""
        text = rendered_text(options["text"], parameters) or ""
        reply_to = rendered_text(options["replyTo"], parameters) if "replyTo" in options else None
    except ParameterMissingError as error:
        raise MailInvalidError(f"its definition needs {error}, which the step did not give") from None
    recipients = list(dict.fromkeys([*to, *cc]))
    if not recipients or len(recipients) > MOST_RECIPIENTS:
        raise MailInvalidError(f"a message has 1 to {MOST_RECIPIENTS} recipients, this one has {len(recipients)}")
    for address in (*recipients, *([reply_to] if reply_to else [])):
        if not _ADDRESS.fullmatch(address):
            raise MailInvalidError("one of its addresses is none; correct the step's parameters")
    if not all(server.may_write_to(address) for address in recipients):
        raise MailInvalidError("one of its recipients is not among those that the operator allows")
    message = EmailMessage(policy=SMTP_POLICY)
    message["From"] = formataddr(parseaddr(server.sender))
    message["To"] = ", ".join(to)
    if cc:
        message["Cc"] = ", ".join(cc)
    if reply_to:
        message["Reply-To"] = reply_to
    # A line break in a subject would be a header of the sender's choice.
    message["Subject"] = " ".join(subject.split())
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{call.key}@{server.sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    return recipients, message.as_bytes()


def _transaction(
    smtp: smtplib.SMTP, call: PreparedCall, sender: str, recipients: Sequence[str], message: bytes, began: float
) -> ToolResult:
    try:
        _expect(smtp.mail(sender), "the sender")
        for recipient in recipients:
            _expect(smtp.rcpt(recipient), "a recipient")
    except (OSError, smtplib.SMTPException, _RefusedError) as error:
        return _before(call, error, time.monotonic() - began)
    try:
        _expect(smtp.data(message), "the text")
    except smtplib.SMTPDataError as error:
        return _before(call, error, time.monotonic() - began)
    except _RefusedError as error:
        return _before(call, error, time.monotonic() - began)
    except (OSError, smtplib.SMTPException) as error:
        return unanswered(call, type(error).__name__, time.monotonic() - began)
    spent = time.monotonic() - began
    return ToolResult(call.key, Answer.CONFIRMED, {"recipients": len(recipients)}, duration_seconds=spent)


def _expect(reply: tuple[int, bytes], to_what: str) -> None:
    if not 200 <= reply[0] < 300:
        raise _RefusedError(reply[0], to_what)


def _before(call: PreparedCall, error: Exception, spent: float) -> ToolResult:
    """The result where the message was certainly not taken. The server's own words may quote an address."""
    code = getattr(error, "code", None) or getattr(error, "smtp_code", None)
    if not isinstance(code, int) or code < 400:
        return not_sent(call, f"no mail server: {type(error).__name__}", spent)
    what = f"the mail server answered {code} to {getattr(error, 'to_what', type(error).__name__)}"
    return rejected(call, what, spent) if code >= 500 else deferred(call, what, spent)


def _addresses(templates: Sequence[str], parameters: Any) -> list[str]:
    """Addresses; a placeholder may also give a list of them."""
    found: list[str] = []
    for value in rendered(list(templates), parameters):
        found += [as_text(item).strip() for item in (value if isinstance(value, list | tuple) else [value])]
    return found
