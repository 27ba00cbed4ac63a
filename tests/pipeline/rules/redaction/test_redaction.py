"""Redaction: every secret is replaced, and other text stays."""

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.settings import SECRET_KINDS, Settings
from pipeline.contract.record import Grouping, LogSlice, Segment, SourceFile
from pipeline.documents.builder import DocumentBuilder
from pipeline.rules.redaction.card_number import is_card_number
from pipeline.rules.redaction.redaction import Redaction
from pipeline.rules.redaction.secret_kinds import KINDS
from tests.pipeline.rules.rulesfile import NOW, POD, parse_valid, sources

ALL = Redaction(KINDS)
AWS_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjMifQ.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nx+/yz==\n-----END RSA PRIVATE KEY-----"


def documents(value: bytes, redact: str, grouping: Grouping | None = None) -> list[dict[str, Any]]:
    """The documents of CRI lines with redaction by a setting."""
    log_slice = LogSlice(
        value=value,
        files=(SourceFile("AAAAAAAAAAAAAAAA", ""),),
        segments=(Segment(0, 0, len(value)),),
        node="n-1",
        read_at=NOW,
        grouping=grouping or Grouping(),
        pod=orjson.dumps(POD),
    )
    return [
        hit["_source"]
        for hit in DocumentBuilder(Settings(redact=tuple(redact.split()))).build(log_slice, NOW).to_hits()
    ]


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        pytest.param("bearer", "Authorization: Bearer abc", "Authorization: Bearer [redacted bearer]", id="header"),
        pytest.param(
            "bearer", '"authorization":"bearer abc.d-e_f"', '"authorization":"bearer [redacted bearer]"', id="json"
        ),
        pytest.param("bearer", "used Bearer a1b2c3d4 twice", "used Bearer [redacted bearer] twice", id="in_a_sentence"),
        pytest.param("bearer", "bearer token required", "bearer token required", id="no_token"),
        pytest.param("basic-auth", "GET https://me:se@cr:et@h/x", "GET https://me:[redacted basic-auth]@h/x", id="url"),
        pytest.param(
            "basic-auth", "postgres://u:p@db:5432/x", "postgres://u:[redacted basic-auth]@db:5432/x", id="dsn"
        ),
        pytest.param("basic-auth", "redis://:p@h", "redis://:[redacted basic-auth]@h", id="password_only"),
        pytest.param("basic-auth", "http://h:80/a@b", "http://h:80/a@b", id="port_is_no_password"),
        pytest.param("basic-auth", "Basic dXNlcjpwYXNz", "Basic [redacted basic-auth]", id="basic_header"),
        pytest.param("basic-auth", "basic auth is on", "basic auth is on", id="no_header"),
        pytest.param("aws", "id AKIAIOSFODNN7EXAMPLE.", "id [redacted aws].", id="access_key"),
        pytest.param(
            "aws", f"aws_secret_access_key = {AWS_KEY}", "aws_secret_access_key = [redacted aws]", id="secret"
        ),
        pytest.param("aws", "secret_key: short", "secret_key: short", id="no_secret"),
        pytest.param("private-key", f"a\n{KEY}\nb", "a\n[redacted private-key]\nb", id="whole_key"),
        pytest.param("private-key", KEY.replace("\n", "\\n") + " b", "[redacted private-key] b", id="key_with_escapes"),
        pytest.param("private-key", KEY[:60], "[redacted private-key]", id="cut_key"),
        pytest.param(
            "private-key", "-----BEGIN CERTIFICATE-----\nMII", "-----BEGIN CERTIFICATE-----\nMII", id="no_key"
        ),
        pytest.param("jwt", f"token={JWT}; x", "token=[redacted jwt]; x", id="jwt"),
        pytest.param("jwt", "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.", "[redacted jwt]", id="unsigned_jwt"),
        pytest.param("jwt", "eyJ is how they begin", "eyJ is how they begin", id="no_jwt"),
        pytest.param("card", "pay 4111 1111 1111 1111 now", "pay [redacted card] now", id="card_with_blanks"),
        pytest.param("card", "pay 5500-0000-0000-0004", "pay [redacted card]", id="card_with_hyphens"),
        pytest.param("card", "card=378282246310005,", "card=[redacted card],", id="card_of_fifteen"),
        pytest.param("card", "2 4111 1111 1111 1111 3", "2 [redacted card] 3", id="card_between_numbers"),
        pytest.param("card", "4111 1111 1111 1112", "4111 1111 1111 1112", id="wrong_check_digit"),
        pytest.param("card", "at 1795513350000000000", "at 1795513350000000000", id="nanoseconds"),
        pytest.param("card", "0.4111111111111111", "0.4111111111111111", id="fraction"),
        pytest.param("card", "4bf92f3577b34da64111111111111111", "4bf92f3577b34da64111111111111111", id="trace_id"),
        pytest.param("email", "to a.b+c@mail.example.org, ok", "to [redacted email], ok", id="email"),
        pytest.param("email", "jürgen@exämple.de", "[redacted email]", id="email_with_umlauts"),
        pytest.param("email", "lodash@4.17.21 a@b @x.yz", "lodash@4.17.21 a@b @x.yz", id="no_email"),
    ],
)
def test_secret_of_each_kind_is_redacted_by_its_form(kind: str, text: str, expected: str) -> None:
    assert Redaction([kind]).redact_text(text) == expected


def test_setting_has_every_kind() -> None:
    assert set(SECRET_KINDS) == set(KINDS)


FIELDS = [
    pytest.param({"message": "x", "a": {"b": [{"c": f"Bearer {JWT}"}]}}, JWT, id="nested"),
    pytest.param({"message": "x", "err": {"message": "for a@mail.example.org"}}, "a@mail.example.org", id="error"),
    pytest.param({"message": "x", "n": 4111111111111111}, "4111111111111111", id="number"),
    pytest.param({"message": "x", "users": {"a@mail.example.org": 1}}, "a@mail.example.org", id="name"),
    pytest.param({"message": "x", "aws": {"SecretAccessKey": AWS_KEY}}, AWS_KEY, id="by_its_name"),
    pytest.param({"message": "x", "k": KEY}, "MIIEpAIBAAKCAQEA", id="key_in_json"),
    pytest.param({"message": "x", "@timestamp": "a@mail.example.org"}, "a@mail.example.org", id="no_time"),
    pytest.param({"message": "x", "deep": [[["a@mail.example.org"]]]}, "a@mail.example.org", id="kept_as_json"),
]


@pytest.mark.parametrize(("body", "secret"), FIELDS)
@pytest.mark.parametrize("escaped", [False, True])
def test_secret_is_redacted_in_every_field(body: dict[str, Any], secret: str, escaped: bool) -> None:  # noqa: FBT001
    content = orjson.dumps(body)
    if escaped:
        content = content.replace(b"@", b"\\u0040").replace(b"eyJ", b"ey\\u004a").replace(b"BEGIN", b"BE\\u0047IN")
    (document,) = documents(b"2026-11-24T09:42:30Z stdout F " + content + b"\n", " ".join(KINDS))

    assert secret not in orjson.dumps(document).decode()
    assert "redacted" in orjson.dumps(document).decode()
    assert document["kubernetes.labels"] == POD["labels"]


@pytest.mark.parametrize("boundary", range(32))
def test_private_key_logged_line_by_line_is_redacted_at_every_slice_boundary(boundary: int) -> None:
    body = base64.b64encode(bytes(range(251)) * 5).decode()
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    logged = ["loaded", "-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----", "word", "done"]
    slices = [
        b"".join(b"2026-11-24T09:42:30Z stdout F " + line.encode() + b"\n" for line in part)
        for part in (logged[:boundary], logged[boundary:])
        if part
    ]
    messages = [document["message"] for part in slices for document in documents(part, "private-key")]

    assert messages == ["loaded", *["[redacted private-key]"] * (len(lines) + 2), "word", "done"]


def test_hexadecimal_digest_is_not_a_key_line() -> None:
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    (document,) = documents(f"2026-11-24T09:42:30Z stdout F {digest}\n".encode(), "private-key")

    assert document["message"] == digest


def test_stack_trace_is_redacted_in_every_error_field() -> None:
    value = (
        b"2026-11-24T09:42:30Z stderr F java.lang.Error: to a@mail.example.org\n"
        b"2026-11-24T09:42:30Z stderr F \tat a.B.c(B.java:1)\n"
    )
    (document,) = documents(value, "email")

    assert b"a@mail" not in orjson.dumps(document)
    assert document["error.message"] == "to [redacted email]"


def test_redaction_is_off_by_default() -> None:
    (document,) = documents(b"2026-11-24T09:42:30Z stdout F a@mail.example.org\n", "")

    assert document["message"] == "a@mail.example.org"


DIGITS = st.text("0123456789", min_size=12, max_size=18)


def _with_check_digit(digits: str) -> str:
    return next(digits + last for last in "0123456789" if _luhn(digits + last))


def _luhn(digits: str) -> bool:
    return sum(sum(divmod(int(d) * (1 + i % 2), 10)) for i, d in enumerate(reversed(digits))) % 10 == 0


CARDS = st.from_regex(r"4[0-9]{14}|5[1-5][0-9]{13}|3[47][0-9]{12}", fullmatch=True).map(_with_check_digit)
TOKENS = st.from_regex(r"[A-Za-z0-9._~+/-]{8,40}", fullmatch=True)
PARTS = st.from_regex(r"[A-Za-z0-9_-]{6,40}", fullmatch=True)
SECRET_TEXTS = st.one_of(
    CARDS.map(lambda digits: (digits, digits)),
    CARDS.filter(lambda digits: len(digits) == 16).map(
        lambda digits: (spaced := "-".join(digits[at : at + 4] for at in range(0, 16, 4)), spaced)
    ),
    TOKENS.map(lambda token: (token, f"Authorization: Bearer {token}")),
    st.tuples(PARTS, PARTS, PARTS).map(
        lambda three: (jwt := f"eyJ{three[0]}xxxxxx.eyJ{three[1]}.{three[2]}", jwt),
    ),
    st.from_regex(r"[A-Za-z0-9!$&*+;=._~-]{6,20}", fullmatch=True).map(
        lambda word: (word, f"https://u:{word}@h.example/")
    ),
    st.from_regex(r"(AKIA|ASIA)[A-Z0-9]{16}", fullmatch=True).map(lambda key: (key, key)),
    st.from_regex(r"[a-z0-9.+]{3,12}x@[a-z0-9]{3,9}\.example\.[a-z]{2,5}", fullmatch=True).map(
        lambda mail: (mail, mail)
    ),
    st.binary(min_size=60, max_size=200).map(
        lambda raw: (
            body := base64.encodebytes(raw).decode().strip(),
            f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----",
        )
    ),
)
AROUND = st.sampled_from(["", " ", "\n", "x ", " y", '"', ", ", "(", ")", " = ", "user ", "\t", " é "])


@given(SECRET_TEXTS, AROUND, AROUND)
def test_secret_is_redacted_in_text_and_bytes(secret: tuple[str, str], before: str, after: str) -> None:
    plain, text = secret
    whole = f"{before}{text}{after}"

    assert plain not in ALL.redact_text(whole)
    assert ALL.matches_trigger(whole.encode())
    assert plain.encode() not in ALL.mask_bytes(whole.encode())
    assert len(ALL.mask_bytes(whole.encode())) == len(whole.encode())
    for content in (orjson.dumps({"k": whole}), b"x " + orjson.dumps({"k": [{"l": whole}]})):
        assert orjson.dumps(plain)[1:-1] not in ALL.mask_bytes(content)


@given(SECRET_TEXTS)
def test_redaction_is_idempotent(secret: tuple[str, str]) -> None:
    once = ALL.redact_text(secret[1])

    assert ALL.redact_text(once) == once


@given(st.text(alphabet=st.characters(exclude_characters="@:", exclude_categories=("Nd", "Cs")), max_size=200))
def test_text_without_secrets_is_unchanged(text: str) -> None:
    if not any(word in text.lower() for word in ("bearer", "basic", "eyj", "private key", "secret")):
        assert ALL.redact_text(text) == text
        assert ALL.mask_bytes(text.encode()) == text.encode()


@given(DIGITS)
def test_card_number_has_a_check_digit(digits: str) -> None:
    assert not is_card_number(digits) or _luhn(digits)


@given(st.text(max_size=100), st.text(max_size=30))
def test_trigger_in_part_of_a_text_matches_the_whole_text(text: str, more: str) -> None:
    """A field may be any part of the message: a trigger in a part is a trigger in the whole."""
    if ALL.redact_text(text) != text:
        assert ALL.matches_trigger((more + text + more).encode())


def test_rule_redacts_by_kind_and_pattern_in_its_fields() -> None:
    rules = """rules:
      - {name: cards, redact: card}
      - name: users
        redact: {pattern: [/user=\\w+/, email], in: [message], with: "***"}"""
    (document,) = sources(rules, '{"message":"user=me a@mail.example.org 4111111111111111","other":"user=me"}')

    assert (document["message"], document["other"]) == ("*** *** [redacted card]", "user=me")


def test_rule_redacts_what_was_parsed_from_its_field_too() -> None:
    rules = """rules:
      - name: cards
        redact: {pattern: [card, /pin=\\d+/], in: [message]}"""
    card = "4111111111111111"
    (document,) = sources(rules, f"java.lang.IllegalStateException: card {card} pin=12")

    assert document["error.message"] == "card [redacted card] [redacted]"
    assert card not in str(document)


def test_raw_bytes_are_masked_by_every_rule_regardless_of_conditions() -> None:
    text = "rules: [{name: a, when: {namespace: other}, redact: {pattern: [card, /pin=\\d+/]}}]"
    builder = DocumentBuilder(Settings(redact=("email",)), parse_valid(text).ruleset)

    assert (
        builder.redact(b"a@mail.example.org 4111111111111111 pin=12 x") == b"*" * 18 + b" " + b"*" * 16 + b" ****** x"
    )
