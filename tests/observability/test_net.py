"""The net finds what it is for wherever it hides, and leaves alone what only resembles it."""

from __future__ import annotations

import json
import re
import string
from re import _parser as parser

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from companyos.observability import Redactor, classified, digits, get_logger, metrics, pii, shapes, start_trace
from companyos.observability.redaction import MARGIN, MAX_TEXT
from tests.observability.test_redaction import PLANTED, SENSITIVE_PARTS

CARDS = {
    "visa": "4111" + "1111" * 3,
    "mastercard": "5555" + "5555" + "5555" + "4444",
    "mastercard of the second range": "2223" + "0031" + "2200" + "3222",
    "american express": "3782" + "822463" + "10005",
    "discover": "6011" + "1111" + "1111" + "1117",
    "diners": "3056" + "930902" + "5904",
    "jcb": "3530" + "1113" + "3330" + "0000",
}
ACCOUNTS = {
    "germany": "DE89" + "3704" + "0044" + "0532" + "0130" + "00",
    "britain": "GB29" + "NWBK" + "6016" + "1331" + "9268" + "19",
    "france": "FR14" + "2004" + "1010" + "0505" + "0001" + "3M02" + "606",
    "norway": "NO93" + "8601" + "1117" + "947",
    "malta": "MT84" + "MALT" + "0110" + "0001" + "2345" + "MTLC" + "AST0" + "01S",
}
redactor = Redactor()


def grouped(number, joint, size=4):
    """A number written in groups."""
    return joint.join(number[start : start + size] for start in range(0, len(number), size))


@pytest.mark.parametrize("name", CARDS)
@pytest.mark.parametrize("joint", ["", " ", "-", ".", "  "])
def test_card_numbers(name, joint):
    """A card number is masked, in one or in groups, in a sentence and before a date."""
    if len(CARDS[name]) % 4 == 0 or not joint:
        shown = grouped(CARDS[name], joint)
        assert f"paid with {digits.CARD}." == redactor.text(f"paid with {shown}.")
        assert f"2 {digits.CARD} 12/27" == redactor.text(f"2 {shown} 12/27")
        assert f"pan_{digits.CARD}, 2027" == redactor.text(f"pan_{shown}, 2027")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<pass" + "word>grey-otter</pass" + "word>", "<password>[secret]</password>"),
        ('<add name="db.pass' + 'word"  value="grey otter" />', '<add name="db.password"  value="[secret]" />'),
        ('{"name":"api' + '_key","value":"grey-otter"}', '{"name":"api_key","value":"[secret]"}'),
        ("pass" + "word%253Dgrey-otter", "password=[secret]"),
        ("ann%252540" + "example.org", "[email]"),
        ("ann\\uFF20" + "example.org", "[email]"),
        ("p\u0430ss" + "word=grey", "password=[secret]"),
        ("card 4111 1111\r\n\t1111 1111.", "card [card]."),
        ("card 4111 1111\\n1111 1111.", "card [card]."),
    ],
    ids=range(9),
)
def test_what_is_wrapped_is_found(text, shown):
    """Elements, names beside values, encodings in encodings, look-alike letters and numbers over two lines."""
    assert shown == redactor.text(text)
    assert shown == redactor.text(shown)
    assert not redactor.is_clean(text)


@pytest.mark.parametrize(
    "text",
    [
        "<title>password rules</title>", "<tokens>5</tokens>", "<password/>", '<add name="size" value="20"/>',
        "a%2520b%2Fc", "100%25 sure", "x\\u00e9t\\u00e9", "\u043f\u0430\u0440\u043e\u043b\u044c = 5",
        "4111\n1111\n1111\n1111", "41111111\n11111112", "C:\\new\\4111",
    ],
)  # fmt: skip
def test_what_only_looks_wrapped_stays(text):
    """Text about secrets, other things encoded, other scripts, and columns of numbers."""
    assert text == redactor.text(text)


@pytest.mark.parametrize(
    "key", ["p\u0430ssword", "\u0440\u0430ssword", "\uff54\uff4f\uff4b\uff45\uff4e", "api\u2010key"]
)
def test_names_in_look_alike_letters_are_names_of_secrets(key):
    """A field whose name only reads like one of those is masked all the same; words of other languages are not."""
    assert shapes.SECRET == redactor.field(key, "blue heron")
    assert "blue heron" == redactor.field("\u043f\u043e\u0440\u044f\u0434\u043e\u043a", "blue heron")


def test_card_numbers_in_their_own_groups():
    """Cards of fifteen and fourteen digits are written in groups of their own."""
    assert digits.CARD == redactor.text("3782 " + "822463 " + "10005")
    assert digits.CARD == redactor.text("3056-" + "930902-" + "5904")


def test_a_card_number_may_be_a_number():
    """An integer that is a card number is masked; times in any unit are not."""
    assert digits.CARD == redactor.value(int(CARDS["visa"]))
    times = [1764520729, 1764520729123, 1764520729123456789]
    assert times == redactor.value(times)


@pytest.mark.parametrize("name", ACCOUNTS)
@pytest.mark.parametrize("joint", ["", " ", "-"])
def test_account_numbers(name, joint):
    """An IBAN is masked, in any case of letters, and the words after it stay."""
    shown = grouped(ACCOUNTS[name], joint)
    assert f"to {digits.ACCOUNT} today" == redactor.text(f"to {shown} today")
    assert f"{digits.ACCOUNT}" == redactor.text(shown.lower())


@pytest.mark.parametrize("number", [*CARDS.values(), *ACCOUNTS.values()])
def test_one_wrong_digit_makes_another_number(number):
    """The check digits are checked."""
    wrong = number[:-2] + str((int(number[-2]) + 1) % 10 if number[-2].isdigit() else 1) + number[-1]
    assert wrong == redactor.text(wrong)


HOSTS = ("db-7.internal", "a.b.corp", "printer.local", "orders.shop.svc.cluster.local", "HQ.Intranet", "nas.lan")


@pytest.mark.parametrize("host", HOSTS)
def test_internal_hosts(host):
    """Names of internal hosts are masked in texts, URLs and at the end of a sentence."""
    assert "[host]" == redactor.text(host)
    assert "https://[host]:8443/x" == redactor.text(f"https://{host}:8443/x")
    assert "no answer from [host]." == redactor.text(f"no answer from {host}.")


def test_hosts_of_ones_own():
    """Other names and domains may be given, in place of the usual ones."""
    own = Redactor(hosts=["*.acme.example", "vault"])
    assert "[host] [host] x.internal devault acme.example.org" == own.text(
        "db.acme.example VAULT x.internal devault acme.example.org"
    )
    assert "db.internal" == Redactor(hosts=()).text("db.internal")


MORE = {
    "google oauth": "ya" + "29." + "a1" * 20,
    "google client secret": "GOC" + "SPX-" + "a1" * 14,
    "age key": "AGE-SECRET" + "-KEY-1" + "Q" * 58,
    "slack webhook": "https://hooks.slack" + ".com/services/" + "T0000/B0000/" + "aaaabbbb",
    "encrypted token": "eyJ" + "a" * 20 + "." + "b" * 20 + ".dddd.cccc" + "." + "d" * 4,
    "pgp key": "-----BEGIN PGP " + "PRIVATE KEY BLOCK-----\nMIIE\n-----END PGP " + "PRIVATE KEY BLOCK-----",
    "address in a query": "to=ann" + "%40example.org",
    "address with a long name": "x" * 70 + "ann" + "@example.org",
}
EVERYTHING = PLANTED | MORE
PARTS = (*SENSITIVE_PARTS, "T0000", "a1a1", "QQQQ")


def leaks(seen):
    """What of the planted secrets can be seen."""
    return [part for part in PARTS if part in seen]


@pytest.mark.parametrize("name", EVERYTHING)
def test_the_quick_test_lets_nothing_through(name):
    """Whatever is masked is noticed by the quick test, by itself and among other texts."""
    assert not redactor.is_clean(EVERYTHING[name])
    assert not redactor.is_clean(f"create\n{EVERYTHING[name]}\nsuccess")
    assert not [part for part in PARTS if part in redactor.text(EVERYTHING[name])]


PIECES = st.lists(
    st.one_of(
        st.sampled_from([*EVERYTHING.values(), *CARDS.values(), *ACCOUNTS.values(), *HOSTS, "Acme"]),
        st.text(st.characters(max_codepoint=127), max_size=12),
        st.sampled_from(["bearer ", "basic\n", "=", ": ", "@", ".", "-", "_", "pin", "DE", "4111", "sk-", "'"]),
        st.text(max_size=3),
    ),
    max_size=5,
).map("".join)
WITH_WORDS = Redactor(["Acme", "x.y"])


@settings(deadline=None)
@given(PIECES)
def test_a_text_that_is_quickly_seen_to_be_clean_is_clean(text):
    """The quick test agrees with the search, whatever is put together."""
    for chosen in (redactor, WITH_WORDS):
        if chosen.is_clean(text):
            assert text == chosen._searched(text)


def test_secrets_that_touch_are_all_masked():
    """What is masked does not shield what is joined to it."""
    token = EVERYTHING["jwt"]
    assert [] == leaks(redactor.text(f"{token}-{token}{CARDS['visa']} " + "ann" + "@example.org" + token))


@settings(deadline=None)
@given(PIECES)
def test_masking_twice_changes_nothing(text):
    """What stands in place of a secret is none."""
    once = redactor.text(text)
    assume(len(once) < MAX_TEXT)
    assert once == redactor.text(once)


HEX = "0123456789abcdef"
ORDINARY = st.one_of(
    st.uuids().map(str),
    st.uuids().map(lambda each: each.hex),
    st.text(HEX, min_size=32, max_size=64).filter(lambda each: not each.isdigit()),
    st.datetimes().map(lambda each: each.isoformat()),
    st.datetimes().map(str),
    st.integers(10**9, 2 * 10**9).map(str),
    st.integers(10**12, 2 * 10**12 - 1).map(str),
    st.integers(10**18, 2 * 10**18 - 1).map(str),
    st.builds("ORD-{:04}-{:06}".format, st.integers(2000, 2100), st.integers(0, 999_999)),
    st.integers(0, 10**11 - 1).map(str),
    st.builds("v{}.{}.{}".format, *[st.integers(0, 999)] * 3),
    st.builds("{}.{}.{}-rc.{}+build.{}".format, *[st.integers(0, 9999)] * 5),
    st.builds("{}.{}.{}.{}".format, *[st.integers(0, 255)] * 4),
    st.builds("lodash@{}.{}.{}".format, *[st.integers(0, 99)] * 3),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.lists(st.floats(0, 99), max_size=8).map(lambda each: " ".join(f"{value:.3f}" for value in each)),
    st.text(string.ascii_lowercase, min_size=1, max_size=12).map(lambda word: f"/v1/{word}s/{{{word}}}/items"),
)


@settings(deadline=None)
@given(ORDINARY)
def test_ordinary_identifiers_pass(text):
    """Identifiers, digests, times, order numbers, versions, addresses of machines and routes stay as they are."""
    assert text == redactor.text(text)
    assert f"see {text}." == redactor.text(f"see {text}.")


class Thing:
    """An object that tells its secret when shown."""

    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return f"Thing({self.text})"


PLACES = {
    "a field": lambda text: text,
    "a list": lambda text: [text],
    "a tuple": lambda text: ("x", (text,)),
    "a set": lambda text: {text},
    "a frozen set": lambda text: frozenset({text}),
    "a value of a mapping": lambda text: {"a": {"b": text}},
    "a key of a mapping": lambda text: {text: 1},
    "a key deep down": lambda text: [{"a": [{text: None}]}],
    "bytes": lambda text: text.encode(),
    "bytes in a list": lambda text: [bytearray(text.encode()), memoryview(text.encode())],
    "a key of bytes": lambda text: {text.encode(): 1},
    "a key that is a tuple": lambda text: {(1, text): 1},
    "an object": Thing,
    "an exception": ValueError,
    "json in a text": lambda text: json.dumps({"note": text}),
    "a long text": lambda text: "x " * 50 + text,
    "a subclass of str": type("Text", (str,), {}),
}


@pytest.mark.parametrize("place", PLACES)
def test_nothing_hides(service, place):
    """Under a neutral name, wherever a field can hide it, in a log event and on a span."""
    for planted in map(PLACES[place], EVERYTHING.values()):
        log.info("x", note=planted)
        with start_trace("work", attributes={"note": planted}) as trace:
            trace.set("more", planted)
    seen = [event.get("note") for event in service.events] + [span.attributes for span in service.observability.spans()]
    assert [] == leaks(json.dumps(seen))
    assert 2 * len(EVERYTHING) == len(seen)


log = get_logger("net")


def fails(text):
    """An exception with the text in every place where one can be."""
    error = KeyError(text)
    error.add_note(f"note {text}")
    return ExceptionGroup("many", [ValueError(text, 7)]), error


def test_exceptions_hide_nothing(service):
    """Neither in the text of an exception, its arguments, notes and causes, nor in those of a group."""
    for text in EVERYTHING.values():
        group, cause = fails(text)
        try:
            raise group from cause
        except ExceptionGroup:
            log.exception("x")
    told = [
        [event["exception.message"], event["exception.chain"], event["exception.stacktrace"]]
        for event in service.events
    ]
    assert [] == leaks(json.dumps(told))
    assert len(EVERYTHING) == len(told)


def test_baggage_and_tags_hide_nothing(service):
    """Baggage that is sent on and tags of metrics are masked, names and values."""
    for text in EVERYTHING.values():
        sent = redactor.baggage({"note": text, text: "x", "who": classified("ann", pii("drop"))})
        metrics.increment("jobs", {"note": text})
        assert [] == leaks(json.dumps(sent))
        assert "who" not in sent
    assert [] == leaks(str([point.attributes for point in service.observability.metrics("jobs")]))


HOSTILE = {
    "an endless word": "a",
    "token after token": "eyJaaaaaaaa-",
    "urls without end": "a://a:",
    "names without values": "password=",
    "quotes": "pass\"'\\: ",
    "addresses that never come": "a.b@",
    "labels": "a.",
    "digits": "4",
    "digits apart": "4 ",
    "groups": "4111 ",
    "countries": "DE89 ",
    "keys": "-----BEGIN " + "PRIVATE KEY-----",
    "spaces": "bearer  ",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_megabyte_is_read_to_its_bound(name):
    """Only the beginning of a huge text is looked at: what comes later changes nothing."""
    text = HOSTILE[name] * (1_000_000 // len(HOSTILE[name]))
    other = text[: MAX_TEXT + MARGIN] + "x" * (len(text) - MAX_TEXT - MARGIN)
    assert redactor.text(text) == redactor.text(other)
    assert len(redactor.text(text)) <= MAX_TEXT + 40


def repeats(tree, within=()):
    """Every repetition of a pattern, with those that it stands in."""
    for operation, argument in tree:
        if operation in {parser.MAX_REPEAT, parser.MIN_REPEAT}:
            low, high, inner = argument
            yield (low, int(high)), within
            yield from repeats(inner, (*within, (low, int(high))))
        elif operation is parser.BRANCH:
            for branch in argument[1]:
                yield from repeats(branch, within)
        elif operation is parser.SUBPATTERN:
            yield from repeats(argument[3], within)
        elif operation in {parser.ASSERT, parser.ASSERT_NOT}:
            yield from repeats(argument[1], within)


PATTERNS = {
    f"{module.__name__}.{name}": value
    for module in (shapes, digits)
    for name, value in vars(module).items()
    if isinstance(value, re.Pattern)
} | {"hints": redactor._hints, "hosts": redactor._hosts}


@pytest.mark.parametrize("name", PATTERNS)
def test_no_pattern_can_run_away(name):
    """No repetition without a small bound stands in another: the work of a match is bounded by its text."""
    for (_, high), within in repeats(parser.parse(PATTERNS[name].pattern, PATTERNS[name].flags & ~re.UNICODE)):
        if within:
            outer = max(bound for _, bound in within)
            assert min(high, outer) <= 64
            assert max(high, outer) <= 4096
