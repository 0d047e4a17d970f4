"""Detectors: card numbers, IBANs, e-mail addresses and secrets, found in data that no pack declared sensitive.

Whether a number is one is the library's word (python-stdnum: Luhn, ISO 13616); the expressions here only find
candidates. Nothing here takes more than linear time, whatever the text: what could is run by RE2. `suspicious` is
the cheap question that is asked about every payload: most hold nothing that any detector could mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum

from stdnum import iban, luhn

from service.domain.expressions import compile_expression, searchable

MASK = "[REDACTED]"
"""What stands in a view for a sensitive value. The same for every value, so nothing can be read from it."""


class Detector(StrEnum):
    """What is looked for; the value is the name by which a pack switches it off."""

    CARD = "cardNumber"
    IBAN = "iban"
    EMAIL = "email"
    SECRET = "secret"  # noqa: S105 - the name of what is looked for


Span = tuple[int, int]

_DIGITS = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,}", re.ASCII)
_GROUP = re.compile(r"\d+", re.ASCII)
_MOST_CARD_DIGITS = 19
_MOST_CARD_GROUPS = 5
_NETWORKS = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}"
    r"|3(?:0[0-5]|[689]\d)\d{11}|35(?:2[89]|[3-8]\d)\d{12}|6(?:011|5\d\d|4[4-9]\d)\d{12}|62\d{14,17}"
    r"|(?:50(?:18|20|38)|5893|6304|6759|676[1-3])\d{9,15}"
)
"""Numbers that a card network issues; without it every tenth long number would pass Luhn."""
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d\d(?: ?[A-Z0-9]){11,30}")
_IBAN_COUNTRIES = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
_IBAN_LENGTHS = {country: length for length, countries in _IBAN_COUNTRIES.items() for country in countries.split()}
"""Characters of an IBAN by country (ISO 13616): where a number in a sentence ends."""
_EMAIL = compile_expression(r"[\pL\pN_.%+'-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_SECRET = compile_expression(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.)*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)"
    r"|(?i:\b(?:bearer|basic)[ ]+)([A-Za-z0-9._~+/=-]{12,})"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
    r"|\b(?:AKIA|ASIA|AIDA|AROA)[0-9A-Z]{16}\b"
    r"|\b(?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|[sr]k_(?:live|test)_|AIza)[A-Za-z0-9_-]{16,}"
    r"|(?i:(?:password|passwd|pwd|passphrase|secret|api[_-]?key|access[_-]?key|token)['\"]?[ ]?[=:][ ]?['\"]?)"
    r"([^\s'\"&,;]{4,})"
    r"|://[^/\s:@]+:([^/\s@]+)@"
)
_PARTS = (1, 2, 3)
"""The groups that hold the secret where the whole match says what it is: bearer token, assigned value, in a URL."""
_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)|pwd|(client|api)?secret|(api|access|secret|private|secretaccess)key"
    r"|(access|refresh|auth|bearer)token|authorization"
)

_SHAPES = bytes.maketrans(b"123456789BCDEFGHIJKLMNOPQRSTUVWXYZ", b"000000000AAAAAAAAAAAAAAAAAAAAAAAAA")
"""Every digit a 0, every capital an A: what a number or an IBAN looks like."""
_GAPS = b" -"
_CARD_SHAPE = b"0" * 13
_IBAN_SHAPE = re.compile(rb"AA00[A0]{11}")
_SECRET_MARKS = (
    b"pass", b"pwd", b"secret", b"token", b"key", b"bearer ", b"basic ", b"authorization", b"akia", b"asia", b"aida",
    b"aroa", b"eyj", b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"github_pat", b"glpat-", b"xox", b"sk_", b"rk_",
    b"aiza",
)  # fmt: skip
"""Text in lower case that holds none of them holds no secret that is looked for, but for one in a URL."""


def suspicious(text: bytes, detectors: frozenset[Detector]) -> bool:
    """Whether JSON text could hold something for one of the detectors; never wrong when it says no."""
    if Detector.EMAIL in detectors and b"@" in text:
        return True
    if Detector.CARD in detectors or Detector.IBAN in detectors:
        shape = text.translate(_SHAPES, _GAPS)
        if _CARD_SHAPE in shape and Detector.CARD in detectors:
            return True
        if b"AA00" in shape and Detector.IBAN in detectors and _IBAN_SHAPE.search(shape) is not None:
            return True
    if Detector.SECRET not in detectors:
        return False
    lower = text.lower()
    for mark in _SECRET_MARKS:  # any() costs twice as much, and this is asked about every payload
        if mark in lower:
            return True
    return b"://" in lower and b"@" in lower


def is_secret_name(name: str) -> bool:
    """Whether a field of this name holds a secret whatever its value looks like."""
    return _SECRET_NAME.fullmatch(re.sub(r"[^a-z]", "", name.lower())) is not None


def masked_text(text: str, detectors: frozenset[Detector], found: set[Detector] | None = None) -> str:
    """The text with everything that a detector finds masked; `found` is told which ones did."""
    for detector, spans_of in _FINDERS.items():
        if detector not in detectors:
            continue
        spans = list(spans_of(searchable(text)))
        if spans and found is not None:
            found.add(detector)
        for start, end in reversed(spans):
            text = f"{text[:start]}{MASK}{text[end:]}"
    return text


def is_card_number(digits: str) -> bool:
    """Whether these digits are a card number."""
    return _NETWORKS.fullmatch(digits) is not None and bool(luhn.is_valid(digits))


def _cards(text: str) -> Iterator[Span]:
    for run in _DIGITS.finditer(text):
        groups = [group.span() for group in _GROUP.finditer(text, *run.span())]
        first = 0
        while first < len(groups):
            last = _last_of_card(text, groups, first)
            if last is not None and not _in_uuid(text, groups[first][0], groups[last][1]):
                yield groups[first][0], groups[last][1]
                first = last
            first += 1


def _last_of_card(text: str, groups: Sequence[Span], first: int) -> int | None:
    """The group with which a card number ends that begins with group `first`: the longest one."""
    digits, last = "", None
    for position in range(first, min(first + _MOST_CARD_GROUPS, len(groups))):
        digits += text[slice(*groups[position])]
        if len(digits) > _MOST_CARD_DIGITS:
            break
        if is_card_number(digits):
            last = position
    return last


def _in_uuid(text: str, start: int, end: int) -> bool:
    return any(uuid.start() < end and start < uuid.end() for uuid in _UUID.finditer(text))


def _ibans(text: str) -> Iterator[Span]:
    for candidate in _IBAN.finditer(text):
        length = _IBAN_LENGTHS.get(candidate.group()[:2])
        places = [place for place in range(*candidate.span()) if text[place] != " "]
        if length is None or len(places) < length:
            continue
        start, end = places[0], places[length - 1] + 1
        if iban.is_valid(text[start:end], check_country=False):
            yield start, end


def _emails(text: str) -> Iterator[Span]:
    if "@" in text:
        yield from (found.span() for found in _EMAIL.finditer(text))


def _secrets(text: str) -> Iterator[Span]:
    for found in _SECRET.finditer(text):
        span = next((found.span(part) for part in _PARTS if found.group(part) is not None), found.span())
        if text[span[0] : span[1]] != MASK:
            yield span


_FINDERS: Mapping[Detector, Callable[[str], Iterator[Span]]] = {
    Detector.SECRET: _secrets,
    Detector.IBAN: _ibans,
    Detector.CARD: _cards,
    Detector.EMAIL: _emails,
}
"""In this order: what a secret holds is masked with it."""
