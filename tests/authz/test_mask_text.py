"""JSON as text, whole and in streamed lines: what is named never leaves, everything else leaves as it was."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from companyos.authz import JsonLines, MaskStreamError, ObligationError, mask, mask_json, mask_lines
from companyos.authz.obligations.mask_text import MAX_DEPTH, MalformedJsonError

SECRET = "DE02-S3CRET-120300"


def _pairs(text):
    """A document with objects as lists of pairs and numbers as texts: nothing is lost on the way."""
    return json.loads(text, object_pairs_hook=lambda pairs: ("object", pairs), parse_int=str, parse_float=str)


class TestText:
    @pytest.mark.parametrize(
        ("text", "fields", "expected"),
        [
            ('{"iban": "x", "id": 1}', ["iban"], '{"iban": "***", "id": 1}'),
            ('{"iban":"x","iban":"y"}', ["iban"], '{"iban":"***","iban":"***"}'),
            ('{"iban":{"a":1},"iban":["y"]}', ["iban"], '{"iban":null,"iban":null}'),
            ('{"a":{"city":"x"},"a":{"city":"y"}}', ["a.city"], '{"a":{"city":"***"},"a":{"city":"***"}}'),
            (r'{"ib\u0061n":"x"}', ["iban"], r'{"ib\u0061n":"***"}'),
            (r'{"ib\u200ban":"x","iban\u0000":"y"}', ["iban"], r'{"ib\u200ban":"***","iban\u0000":"***"}'),
            (r'{"\u0049BAN":"x"}', ["iban"], r'{"\u0049BAN":"***"}'),
            ('{"\uff49\uff42\uff41\uff4e":"x"}', ["iban"], '{"\uff49\uff42\uff41\uff4e":"***"}'),
            ('{"pre\\u0301nom":"x"}', ["pr\u00e9nom"], '{"pre\\u0301nom":"***"}'),
            (r'{"\ud83d":"x","iban":"y"}', ["iban"], r'{"\ud83d":"x","iban":"***"}'),
            ('{"n":1e400,"m":-0.0,"k":12345678901234567890123,"iban":1}', ["iban"], None),
            ('{"n":1.10,"m":1E+2,"s":"\\u00e4\\/","iban":true}', ["iban"], None),
            (' [ {"iban" : "x" } , 2 ]\r', ["iban"], ' [ {"iban" : "***" } , 2 ]\r'),
            ('{"iban":"a\\"b\\\\"}', ["iban"], '{"iban":"***"}'),
            ('{"contact.iban":"x"}', ["iban"], '{"contact.iban":"***"}'),
            ('{"id":7,"type":null,"n":[1,"x",{"id":"y"}]}', ["*"], '{"id":7,"type":null,"n":[null,"***",{"id":"y"}]}'),
            ('{"id":{"a":"x"}}', ["*"], '{"id":{"a":"***"}}'),
            ("null", ["*"], "null"),
            ("[]", ["*"], "[]"),
            ("{}", ["iban"], "{}"),
        ],
    )
    def test_masked_where_it_stands(self, text, fields, expected):
        """Each named value is replaced, duplicates and escaped keys too, and no other character changes."""
        before, _, _ = text.rpartition('"iban":')
        assert mask_json(text, fields) == (expected or f'{before}"iban":null}}')

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{",
            '{"a"',
            '{"a":}',
            '{"a":1,}',
            "[1,]",
            "[1 2]",
            "{a:1}",
            "{'a':1}",
            '{"a":01}',
            '{"a":1.}',
            '{"a":.5}',
            '{"a":+1}',
            '{"a":NaN}',
            '{"a":Infinity}',
            '{"a":"\t"}',
            '{"a":"\\x"}',
            '{"a":"\\u12"}',
            '{"a":1}{"iban":"x"}',
            '{"a":1} x',
            "\ufeff{}",
            "nul",
            '{"a":1/*c*/}',
            "[1]\x00",
            "[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2),
            "[" * 100_000,
        ],
    )
    def test_what_is_not_json(self, text):
        """What another reader might read in another way is refused, and the error shows none of it."""
        with pytest.raises(MalformedJsonError) as caught:
            mask_json(text, ["iban"])

        assert SECRET not in caught.value.message

    @pytest.mark.parametrize("text", ['"x"', "7", "true", " -1.5 "])
    def test_a_lone_value(self, text):
        """A lone text or number might be the very secret."""
        with pytest.raises(ObligationError, match="lone value"):
            mask_json(text, ["iban"])

    def test_deep_in_the_stack(self):
        """Where the caller stands deep in the stack already, a document is refused by name."""

        def descend(depth):
            return descend(depth - 1) if depth else mask_json("[" * 100 + "]" * 100, ["iban"])

        with pytest.raises(MalformedJsonError, match="too deeply"):
            descend(sys.getrecursionlimit() - 200)

    def test_an_endless_text_is_refused_in_no_time(self):
        """A text without an end is passed over once, not again from every character."""
        with pytest.raises(MalformedJsonError):
            mask_json('{"a":"' + "x\\n" * 300_000, ["iban"])


_keys = st.sampled_from(["id", "iban", "IBAN", "a", "b.iban", "note", "\uff49ban", "type"])
_scalars = st.one_of(
    st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none(), st.text(max_size=8)
)
_documents = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=4), max_leaves=12
).filter(lambda value: isinstance(value, dict | list))


@st.composite
def _text(draw, value):
    """A way to write a value as JSON: with spaces, escapes, and keys said twice."""
    space = draw(st.sampled_from(["", " ", "\t"]))
    if isinstance(value, dict):
        pairs = [(key, item) for key, item in value.items() for _ in range(draw(st.integers(1, 2)))]
        members = [f"{draw(_spelling(key))}{space}:{space}{draw(_text(item))}" for key, item in pairs]
        return f"{{{space}{f'{space},'.join(members)}{space}}}"
    if isinstance(value, list):
        return f"[{space}{f',{space}'.join([draw(_text(item)) for item in value])}]"
    return draw(_spelling(value)) if isinstance(value, str) else json.dumps(value)


@st.composite
def _spelling(draw, text):
    escaped = draw(st.booleans())
    if escaped and text.isascii():
        return '"' + "".join(f"\\u{ord(character):04x}" for character in text) + '"'
    return json.dumps(text, ensure_ascii=draw(st.booleans()))


def _planted(value):
    """The value with the secret under each name that is to be masked."""
    if isinstance(value, dict):
        return {
            key: SECRET if key.casefold().endswith("iban") or key == "\uff49ban" else _planted(item)
            for key, item in value.items()
        }
    return [_planted(item) for item in value] if isinstance(value, list) else value


_fields = st.sampled_from([["iban"], ["*"], ["b.iban"], ["iban", "a"], ["a.iban"], ["note", "nothing"]])


@given(_documents.flatmap(lambda value: st.tuples(st.just(value), _text(value))), _fields)
def test_text_and_values_are_masked_alike(document, fields):
    """A document is masked as the value that it stands for, whichever of two equal keys a reader takes."""
    value, text = document

    assert json.loads(mask_json(text, fields)) == json.loads(json.dumps(mask(value, fields)))


@given(_documents.map(_planted).flatmap(_text))
def test_the_secret_never_leaves_and_all_else_stays(text):
    """Undoing the mask gives the document back character by character."""
    masked = mask_json(text, ["iban"])
    spelt = (json.dumps(SECRET), '"' + "".join(f"\\u{ord(character):04x}" for character in SECRET) + '"')

    assert not any(form in masked for form in spelt)
    for form in spelt:
        text = text.replace(form, '"***"')
    assert text == masked


@given(st.text(max_size=60) | st.text(alphabet='{}[]",:\\u0041 \t\r1.eE-truefalsn', max_size=60))
@example('{"a":1}\v')
def test_it_takes_what_json_is_and_nothing_else(text):
    """A text is refused if and only if the standard library's parser refuses it, or it is a lone value."""

    def refuse(_):
        raise ValueError

    try:
        value = json.loads(text, parse_constant=refuse)
    except ValueError:
        value = "lone"
    if isinstance(value, dict | list) or value is None:
        assert mask_json(text, ["nothing"]) == text
    else:
        with pytest.raises(ObligationError):
            mask_json(text, ["nothing"])


def _read(chunks, fields, **options):
    """What leaves of a stream, and the error that ends it."""
    lines, stream = [], mask_lines(chunks, fields, **options)
    try:
        lines.extend(stream)
    except MaskStreamError as error:
        return lines, error
    return lines, None


async def _read_async(chunks, fields, **options):
    async def source():
        for chunk in chunks:
            yield chunk

    lines = []
    try:
        async for line in mask_lines(source(), fields, **options):
            lines.append(line)  # noqa: PERF401 - a comprehension would lose what came before an error
    except MaskStreamError as error:
        return lines, error
    return lines, None


class TestLines:
    @settings(deadline=None)
    @given(
        st.lists(_documents.map(_planted).flatmap(_text), max_size=5),
        st.sampled_from(["\n", "\r\n"]),
        st.booleans(),
        st.data(),
    )
    def test_however_a_stream_is_cut(self, documents, end, closed, data):
        """Cut anywhere, in characters and texts too, plain and asynchronous give each line as if it came alone."""
        stream = (end.join(documents) + (end if closed and documents else "")).encode()
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
        chunks = [stream[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
        lines, error = _read(chunks, ["iban"])

        assert error is None
        assert (lines, None) == asyncio.run(_read_async(chunks, ["iban"]))
        expected = end.join(mask_json(document, ["iban"]) for document in documents)
        assert b"".join(lines).decode() == expected + (end if closed and documents else "")
        assert all(line.endswith(b"\n") for line in lines[:-1])

    @settings(deadline=None)
    @given(
        st.lists(st.binary(max_size=12) | st.sampled_from([b'{"iban":"S3C', b'RET"}', b"\n", b"\r", b'"}']), max_size=9)
    )
    def test_whatever_comes(self, chunks):
        """Any bytes at all: whole lines of JSON leave, or a named error; the secret does not."""
        lines, error = _read(chunks, ["iban"])

        assert b"S3CRET" not in b"".join(lines)
        for line in lines:
            assert not line.strip() or isinstance(json.loads(line), dict | list | None)
        assert error is None or error.code == "authz.mask_stream"

    def test_texts_and_bytes(self):
        """Texts, bytes and views of memory may follow each other."""
        chunks = ['{"iban":"\u00e4', b"x", bytearray(b'"}\n'), memoryview(b"[]"), "\n"]

        assert _read(chunks, ["iban"]) == ([b'{"iban":"***"}\n', b"[]\n"], None)

    def test_blank_lines(self):
        """Blank lines, sent to keep a connection open, stay where they are."""
        assert _read([b"\n \r\n[]\n"], ["iban"]) == ([b"\n", b"\r\n", b"[]\n"], None)

    @pytest.mark.parametrize(
        ("bad", "why"),
        [
            (b"{'iban':'x'}", "not JSON"),
            (b'{"iban":"x"', "not JSON"),
            (b'{"a":1}{"iban":"x"}', "not JSON"),
            (b'"S3CRET"', "lone value"),
            (b'{"a":"\xff"}', "not UTF-8"),
            ("\ud800", "not Unicode"),
            (7, "comes as int"),
            (None, "comes as NoneType"),
            (b"[" * 500 + b"]" * 500, "not JSON"),
            (b'{"a":"' + b"x" * 2000 + b'"}', "longer than 1000 bytes"),
        ],
        ids=lambda value: repr(value)[:20],
    )
    def test_a_line_that_cannot_be_masked(self, bad, why):
        """It refuses the rest by a named error with its number; complete lines before it have left, nothing else."""
        told = []
        chunks = [b'{"iban":"x"}\n{"a":1}\n', bad, b"\n", b'{"b":2}\n']
        lines, error = _read(chunks, ["iban"], max_line_bytes=1000, complain=told.append)

        assert lines == [b'{"iban":"***"}\n', b'{"a":1}\n']
        assert error.what.startswith("line 3 of the stream cannot be masked")
        assert why in error.what
        assert [error] == told
        assert b"S3CRET" not in error.message.encode("utf-8", "replace")
        assert asyncio.run(_read_async(chunks, ["iban"], max_line_bytes=1000))[0] == lines

    def test_a_refused_stream_takes_no_more(self):
        """Whoever goes on after the error gets nothing."""
        stream = mask_lines([b"x\n", b"[]\n"], ["iban"])
        with pytest.raises(MaskStreamError):
            next(stream)

        assert next(stream, "nothing") == "nothing"

    def test_a_line_without_an_end_is_not_kept(self):
        """An endless line is refused at its limit, after so many chunks and not at the end of the stream."""
        given = []

        def endless():
            while True:
                given.append(1)
                yield b"x" * 100

        lines, error = _read(endless(), ["iban"], max_line_bytes=1000)

        assert (lines, len(given)) == ([], 11)
        assert "longer than 1000 bytes" in error.what

    def test_a_source_that_fails(self):
        """The source's own error passes, the half line before it does not, and the source is closed."""
        closed = []

        def source():
            try:
                yield b'[]\n{"iban":"S3C'
                raise OSError("gone")
            finally:
                closed.append(True)

        lines = []
        with pytest.raises(OSError, match="gone"):
            lines.extend(mask_lines(source(), ["iban"]))

        assert (lines, closed) == ([b"[]\n"], [True])

    @pytest.mark.parametrize("stream", [7, None, object()])
    def test_what_is_no_stream(self, stream):
        """What gives no chunks is refused at once."""
        with pytest.raises(ObligationError, match="no stream"):
            mask_lines(stream, ["iban"])

    def test_one_text(self):
        """A whole text is a stream of one piece, not of its characters."""
        assert list(mask_lines('{"iban":"x"}\n', ["iban"])) == [b'{"iban":"***"}\n']

    def test_lines_know_how_they_are_read(self):
        """Plain lines are not read by `async for`, and the other way round."""

        async def source():
            yield b"[]\n"

        with pytest.raises(TypeError, match="async for"):
            iter(JsonLines(source()))
        with pytest.raises(TypeError, match="not asynchronous"):
            aiter(JsonLines([b"[]\n"]))
