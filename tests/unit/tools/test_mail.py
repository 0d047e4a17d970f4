"""E-mail through a real SMTP server, and everything that can go wrong on the way to it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from email import message_from_bytes
from email.message import Message
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from service.resources import MailServer
from service.tools import Answer, ToolResult
from service.tools.kinds import BlockingKind, CallKind
from service.tools.mail import Mailer
from tests.tools.given import TEXT, a_call, a_client, result_of, secrets_with

MAIL: dict[str, Any] = {
    "kind": "smtp",
    "parameters": {"to": TEXT, "order": TEXT},
    "to": ["{{ parameters.to }}"],
    "subject": "Order {{ parameters.order }} is late",
    "text": "Look at {{ parameters.order }}.\n.\nThat was a dot.",
    "timeoutSeconds": 2,
}


class Inbox:
    """An aiosmtpd handler that keeps what it is given, and refuses what it is told to."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.recipients: list[str] = []
        self.refusals: dict[str, str] = {}
        self.says = "250 taken"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address in self.refusals:
            return self.refusals[address]
        envelope.rcpt_tos.append(address)
        return "250 yes"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.says.startswith("250"):
            self.messages.append(message_from_bytes(envelope.content, policy=default))
            self.recipients += envelope.rcpt_tos
        return self.says


def kinds_for(**server: Any) -> Callable[[], Mapping[str, CallKind]]:
    settings = {"host": "127.0.0.1", "security": "none", "sender": "ops@house.example", "recipients": ["*"], **server}
    mailer = Mailer(MailServer.model_validate(settings), secrets_with(PASSWORD="pa55word"))
    return lambda: {"smtp": BlockingKind(mailer)}


def sent(parameters: dict[str, Any], definition: dict[str, Any] = MAIL, **server: Any) -> ToolResult:
    with a_client(kinds=kinds_for(**server)) as client:
        return result_of(client, a_call(definition, parameters, key="0199-key"))


GOOD = {"to": "desk@bank.example", "order": "O-1"}


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@contextmanager
def listening(inbox: Inbox, **options: Any) -> Iterator[int]:
    controller = Controller(inbox, hostname="127.0.0.1", port=free_port(), **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_message_arrives_with_the_key_as_its_id(inbox: Inbox) -> None:
    # when a message is sent, one of whose lines is a dot
    with listening(inbox) as port:
        result = sent(GOOD, port=port)
    # then it arrives whole
    assert (result.answer, result.output) == (Answer.CONFIRMED, {"recipients": 1})
    (message,) = inbox.messages
    assert message["Message-ID"] == "<0199-key@house.example>"
    assert (message["From"], message["To"]) == ("ops@house.example", "desk@bank.example")
    assert message["Subject"] == "Order O-1 is late"
    assert message.get_payload().splitlines() == ["Look at O-1.", ".", "That was a dot."]


def test_a_subject_with_a_line_break_adds_no_header(inbox: Inbox) -> None:
    with listening(inbox) as port:
        assert sent({**GOOD, "order": "1\r\nBcc: x@evil.example"}, port=port).answer is Answer.CONFIRMED
    assert inbox.messages[0]["Bcc"] is None
    assert inbox.recipients == ["desk@bank.example"]


@pytest.mark.parametrize(
    ("to", "says"),
    [("desk@bank.example\r\nDATA", "none"), ("a@b.example, c@d.example", "none"), ("x@other.example", "operator")],
)
def test_an_address_that_is_none_or_not_allowed_is_not_written_to(inbox: Inbox, to: str, says: str) -> None:
    with listening(inbox) as port:
        result = sent({**GOOD, "to": to}, port=port, recipients=["*@bank.example"])
    assert result.answer is Answer.PERMANENT
    assert says in (result.error or "")
    assert to not in (result.error or "")
    assert not inbox.messages


def test_a_message_goes_to_all_or_to_none(inbox: Inbox) -> None:
    # given a server that takes one recipient and not the other
    inbox.refusals["b@bank.example"] = "550 no such desk"
    definition = {**MAIL, "to": ["a@bank.example", "b@bank.example"]}
    # when both are written to, then neither gets it, and the server's own words are not repeated
    with listening(inbox) as port:
        result = sent(GOOD, definition, port=port)
    assert result.answer is Answer.PERMANENT
    assert "550 to a recipient" in (result.error or "")
    assert "desk" not in (result.error or "")
    assert not inbox.messages


@pytest.mark.parametrize(
    ("says", "expected"), [("451 later", Answer.TRANSIENT), ("554 never", Answer.PERMANENT)], ids=["4xx", "5xx"]
)
def test_what_the_server_says_after_the_text_is_what_counts(inbox: Inbox, says: str, expected: Answer) -> None:
    inbox.says = says
    with listening(inbox) as port:
        assert sent(GOOD, port=port).answer is expected


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
@pytest.mark.parametrize(
    ("password", "expected"), [(b"pa55word", Answer.CONFIRMED), (b"another", Answer.PERMANENT)], ids=["right", "wrong"]
)
def test_encryption_and_login_come_before_the_message(
    inbox: Inbox, tmp_path: Path, password: bytes, expected: Answer
) -> None:
    # given a server that asks for STARTTLS and a login
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def judge(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        ours = isinstance(data, LoginPassword) and data.login == b"ops" and data.password == password
        return AuthResult(success=ours, handled=ours)

    login = {"username": "ops", "password": "secret://env/PASSWORD"}
    with listening(inbox, tls_context=context, require_starttls=True, authenticator=judge, auth_required=True) as port:
        # when its authority is trusted, then the login decides
        trusting = sent(GOOD, port=port, security="starttls", caFile=tmp_path / "ca.pem", **login)
        # when it is not, then nothing is sent and nothing is tried again
        strange = sent(GOOD, port=port, security="starttls", **login)
    assert trusting.answer is expected
    assert "pa55word" not in (trusting.error or "")
    assert (strange.answer, strange.output) == (Answer.PERMANENT, None)
    assert len(inbox.messages) == (1 if expected is Answer.CONFIRMED else 0)


def test_a_server_that_is_not_there_was_not_given_the_message() -> None:
    assert sent(GOOD, port=free_port()).answer is Answer.TRANSIENT


@contextmanager
def scripted(*replies: bytes | None) -> Iterator[int]:
    """A server that says these lines, one after each thing it is told; None: it says nothing more and waits."""
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with closing(connection), connection.makefile("rb") as lines:
                for number, reply in enumerate(replies):
                    if number:
                        lines.readline()
                    if reply is None:
                        lines.read()
                        return
                    connection.sendall(reply)
                while lines.readline() not in (b".\r\n", b""):
                    pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)


UP_TO_THE_TEXT = (b"220 hello\r\n", b"250 hello\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go on\r\n")


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        (UP_TO_THE_TEXT[:1], Answer.TRANSIENT),
        (UP_TO_THE_TEXT[:3], Answer.TRANSIENT),
        ((*UP_TO_THE_TEXT[:2], None), Answer.TRANSIENT),
        (UP_TO_THE_TEXT, Answer.UNANSWERED),
        ((*UP_TO_THE_TEXT, None), Answer.UNANSWERED),
    ],
    ids=["cut off at the greeting", "cut off at the recipient", "silent at the sender", "cut off after the text",
         "silent after the text"],
)  # fmt: skip
def test_only_a_message_whose_text_did_not_leave_may_be_sent_again(
    replies: tuple[bytes | None, ...], expected: Answer
) -> None:
    with scripted(*replies) as port:
        assert sent(GOOD, {**MAIL, "timeoutSeconds": 0.5}, port=port).answer is expected
    if expected is Answer.UNANSWERED:
        with scripted(*replies) as port:
            tool = {**MAIL, "timeoutSeconds": 0.5, "idempotent": True}
            assert sent(GOOD, tool, port=port).answer is Answer.TRANSIENT
