"""What leaves is masked, bounded and never an error."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from companyos.observability import Redactor
from companyos.observability.redaction import ADDRESS, MAX_ITEMS, MAX_TEXT, SECRET

# Put together here, so that a scan of this file finds nothing.
PLANTED = {
    "jwt": "eyJ" + "hbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "aws key": "AK" + "IA" + "IOSFODNN7EXAMPLE",
    "github token": "gh" + "p_" + "a" * 36,
    "github fine-grained token": "github" + "_pat_" + "b" * 30,
    "slack token": "xo" + "xb-" + "1234567890-abc",
    "model provider key": "s" + "k-" + "proj-" + "c" * 30,
    "google key": "AI" + "za" + "d" * 35,
    "bearer header": "Bearer " + "q1w2e3r4t5y6",
    "basic header": "basic " + "dXNlcjpodW50ZXIy",
    "password in a url": "postgresql://app:" + "hunter2hunter2" + "@db/orders",
    "password in a text": "login failed, pass" + "word=hunter2hunter2 for u-1",
    "password in json text": '{"pass' + 'word": "hunter2hunter2"}',
    "password with spaces in json": '{"pass' + 'word": "correct hunter2 horse", "user": "u-1"}',
    "password in escaped json": '"{\\"pass' + 'word\\": \\"hunter2hunter2\\"}"',
    "password of a database": "db_pass" + "word=hunter2hunter2",
    "environment variable": "AWS_SECRET_ACCESS_" + "KEY=hunter2hunter2",
    "authorization header": "Authorization: Bearer " + "q1w2e3r4t5y6",
    "authorization in a dict": "{'authorization': 'Bearer " + "q1w2e3r4t5y6'}",
    "cookie header": "Set-Cookie: sid=hunter2; theme=hunter2",
    "private key": "-----BEGIN " + "PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----",
    "cut private key": "-----BEGIN EC " + "PRIVATE KEY-----\nMIIEvQhunter2",
    "stripe key": "sk" + "_live_" + "aaaa51Habcdefghijk",
    "stripe restricted key": "key_rk" + "_test_" + "aaaa51Habcdefghijk",
    "gitlab token": "gl" + "pat-" + "aaaabcdefghij0123456789",
    "npm token": "np" + "m_" + "a" * 36,
    "model hub token": "h" + "f_" + "a" * 34,
    "webhook secret": "wh" + "sec_" + "a1" * 8 + "a" * 8,
    "python index token": "py" + "pi-" + "a" * 40,
    "mail service key": "S" + "G." + "a" * 22 + "." + "b" * 43,
    "shop token": "sh" + "pat_" + "a" * 32,
    "aws key inside a word": "key_AK" + "IA" + "IOSFODNN7EXAMPLE",
    "framework key": "SECRET_" + "KEY=hunter2hunter2",
    "storage key": "Account" + "Key=hunter2hunter2==;EndpointSuffix=x",
    "short password": "pw" + "d=hunter2 x",
    "shorter password": "db_pa" + "ss=hunter2",
    "pass in json": '{"pa' + 'ss": "hunter2"}',
    "pin": "pi" + "n=hunter2",
    "session": "session" + "id=hunter2",
    "signature": "https://x/y?si" + "g=hunter2&sp=r",
    "slash in a url's password": "postgres://app:" + "pa/hunter2@db.internal/x",
    "at sign in a url's password": "postgres://app:" + "p@hunter2@db.internal/x",
    "slash after digits in a url's password": "postgres://app:" + "12hunter2/34@db.internal/x",
    "header with another scheme": "Authoriz" + "ation: Token hunter2",
    "header with parameters": "Authoriz" + 'ation: Digest username="u", response="hunter2"',
    "headers as bytes": "[(b'x-api-" + "key', b'hunter2')]",
    "bytes in a dict": "{b'pass" + "word': b'hunter2'}",
    "command line": "mysql --pass" + "word hunter2 orders",
    "arguments of a command": "['mysql', '--pass" + "word', 'hunter2']",
    "long password": "pass" + "word=" + "x" * 3000 + "hunter2",
    "e-mail address abroad": "ann@münchen.de",
    "e-mail address": "sent to ann.lee+x@mail.example.org today",
}
SENSITIVE_PARTS = (
    "hunter2",
    "eyJ",
    "IOSFODNN7",
    "aaaa",
    "bbbb",
    "1234567890",
    "cccc",
    "dddd",
    "q1w2",
    "dXNl",
    "ann",
    "MIIE",
)

SECRET_KEYS = (
    "password", "db_password", "dbPassword", "DB_PASSWORD", "token", "access_token", "accessToken", "Authorization",
    "api_key", "apiKey", "x-api-key", "APIKey", "cookie", "set-cookie", "private_key", "privateKey", "client_secret",
    "db_pass", "pass", "pin", "cvv", "cvc", "ssn", "iban", "totp", "session", "sessionid", "sessionID", "sig",
    "signature", "X-Amz-Signature", "X-Goog-Signature", "secretkey", "pwd",
    "clientSecret", "session_id", "aws_access_key_id", "credentials", "otp", "jwt",
)  # fmt: skip
PLAIN_KEYS = (
    "user", "tokens", "max_tokens", "token_count", "input_tokens", "gen_ai.usage.output_tokens", "key", "monkey",
    "signal", "design", "shipping", "spin", "session_count", "bypass", "passed", "assign",
    "secretary", "passenger", "author", "latency_ms", "token_type", "api", "compass",
)  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_secrets_in_texts_are_masked(name):
    """A text that holds a secret or an address leaves without it."""
    masked = Redactor().text(PLANTED[name])
    assert not [part for part in SENSITIVE_PARTS if part in masked]
    assert SECRET in masked or ADDRESS in masked


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_values_under_secret_names_are_masked(key):
    """A field with the name of a secret is masked whatever it holds."""
    for value in ("hunter2", 123456, ["hunter2"], {"a": "hunter2"}):
        assert Redactor().field(key, value) == SECRET
    assert Redactor().value({"headers": {key: "hunter2"}}) == {"headers": {key: SECRET}}


@pytest.mark.parametrize("key", PLAIN_KEYS)
def test_plain_names_are_left_alone(key):
    """Names that merely resemble those of secrets do not lose their values."""
    assert Redactor().field(key, 7) == 7
    assert Redactor().field(key, "seven") == "seven"


def test_presence_of_a_secret_may_be_told():
    """Whether a secret is set is no secret."""
    assert Redactor().field("password", None) is None
    assert Redactor().field("password", False) is False
    assert Redactor().field("password", "") == ""


@pytest.mark.parametrize(
    "text",
    [
        "a plain sentence",
        "task-42 done",
        "2 tokens used",
        "a @ b",
        "api up",
        "https://example.org/x?y=1",
        "2 pass: 1 fail",
        "bypass=1",
        "http://db:8080/@scope/pkg",
        "the design=1",
        "sk_live",
        "monkey=banana",
        "ship-pinned",
    ],
)
def test_plain_texts_are_left_alone(text):
    """A text without secrets leaves as it is."""
    assert Redactor().text(text) == text


def test_own_words_are_withheld():
    """Tenant and host names given to the redactor leave nowhere, in any case of letters."""
    redactor = Redactor(["Acme", "db-7.internal"])
    assert redactor.text("ACME on db-7.internal") == "[redacted] on [redacted]"


def test_keys_of_mappings_are_masked_too():
    """An address used as a key is masked."""
    assert Redactor().value({"ann@example.org": 3}) == {ADDRESS: 3}


def test_size_is_bounded():
    """Long texts, long lists, wide and deep mappings are cut, and say so."""
    redactor = Redactor()
    assert redactor.text("x" * (MAX_TEXT + 5)).endswith(f"... ({MAX_TEXT + 5} characters)")
    assert redactor.value(list(range(MAX_ITEMS + 2)))[-1] == "... 2 more"
    assert redactor.value({str(n): n for n in range(MAX_ITEMS + 2)})["..."] == "2 more"
    loop: list = []
    loop.append(loop)
    assert "[too deep]" in json.dumps(redactor.value(loop))


def test_a_value_that_cannot_be_shown_is_no_error():
    """An object whose text fails is named instead."""

    class Broken:
        def __str__(self):
            raise RuntimeError("no")

    assert Redactor().value(Broken()) == "[Broken: RuntimeError when shown]"
    assert Redactor().value(b"abc") == "[3 bytes]"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.sets(st.integers()),
    max_leaves=20,
)


@given(JSON)
def test_any_value_becomes_strict_json(value):
    """Whatever is logged, the result is JSON that every parser takes."""
    json.loads(json.dumps(Redactor().value(value), allow_nan=False))


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_secret_is_masked_wherever_it_stands(before, after):
    """Text around a secret does not hide it, as long as it does not join it."""
    masked = Redactor().text(f"{before} {PLANTED['jwt']} {after}")
    assert PLANTED["jwt"] not in masked


@pytest.mark.parametrize("offset", range(0, 60, 7))
def test_a_secret_is_not_cut_in_half(offset):
    """A text is masked before it is cut, so that no first half of a token is left over."""
    masked = Redactor().text("x" * (MAX_TEXT - offset) + " " + PLANTED["github token"] + " y" * 3000)
    assert "gh" + "p_" not in masked


LOOKALIKES = {
    "full width": "\uff14\uff11\uff11\uff11 \uff11\uff11\uff11\uff11 \uff11\uff11\uff11\uff11 \uff11\uff11\uff11\uff11",
    "spaces that do not break": "4111\u00a01111\u00a01111\u00a01111",
    "hyphens that do not break": "4111\u20111111\u20111111\u20111111",
    "nothing between": "41111111\u200b11111111",
    "address": "ann\uff20example.org",
}


@pytest.mark.parametrize("case", LOOKALIKES)
def test_letters_that_look_alike_hide_nothing(case):
    """Other digits, spaces and signs of the same look are seen through; a text that hides nothing stays as it is."""
    shown = Redactor().text(f"é {LOOKALIKES[case]} é")
    assert shown in {"é [card] é", "é [email] é"}
    assert Redactor().text("é\u00a0\uff14 \u2014 é") == "é\u00a0\uff14 \u2014 é"


@pytest.mark.parametrize("number", [-4111111111111111, 4111111111111111.0])
def test_a_card_is_a_card_in_any_number(number):
    """A sign or a point changes nothing."""
    assert "[card]" == Redactor().field("n", number)


def test_pairs_of_names_and_values_are_fields():
    """A list of headers hides nothing that a mapping would not hide."""
    shown = Redactor().field("headers", [("x-api-key", "hunter2"), ("accept", "text/html")])
    assert [["x-api-key", SECRET], ["accept", "text/html"]] == shown
