"""One sane call of every built-in that policies may use, made before a policy that uses it may decide anything.

A function that an engine knows by name and answers with *undefined* would make every rule that calls it silent.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

from companyos.authz.engines._regorus import first_lines, prepare
from companyos.authz.interface import PolicyError
from companyos.errors import CompanyOSError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ("SAMPLES", "check")

_TABLE = r"""
abs(-2)
ceil(1.2)
concat("-", ["a", "b"])
contains("abc", "b")
count([1, 2])
endswith("abc", "c")
floor(1.8)
format_int(10, 2)
indexof("abc", "b")
indexof_n("abcb", "b")
intersection({{1, 2}, {2}})
is_array([1])
is_boolean(true)
is_null(null)
is_number(1)
is_object({"a": 1})
is_set({1})
is_string("a")
lower("A")
max([1, 2])
min([1, 2])
product([2, 3])
replace("abc", "b", "x")
round(1.5)
sort([2, 1])
split("a,b", ",")
sprintf("%v is %d", ["a", 1])
startswith("abc", "a")
substring("abcdef", 1, 2)
sum([1, 2])
to_number("12")
trim("xax", "x")
trim_left("xax", "x")
trim_prefix("abc", "a")
trim_right("xax", "x")
trim_space(" a ")
trim_suffix("abc", "c")
type_name([1])
union({{1}, {2}})
upper("a")
array.concat([1], [2])
array.reverse([1, 2])
array.slice([1, 2, 3], 1, 2)
base64.decode("YQ==")
base64.encode("a")
base64.is_valid("YQ==")
base64url.decode("YQ")
base64url.encode("a")
base64url.encode_no_pad("a")
bits.and(6, 3)
bits.lsh(1, 3)
bits.negate(5)
bits.or(4, 1)
bits.rsh(8, 2)
bits.xor(6, 3)
glob.match("*.example.org", ["."], "api.example.org")
glob.quote_meta("*.example.org")
graph.reachable({"a": ["b"], "b": []}, ["a"])
hex.decode("61")
hex.encode("a")
json.filter({"a": 1, "b": 2}, ["a"])
json.is_valid("[1]")
json.marshal({"a": 1})
json.patch({"a": 1}, [{"op": "add", "path": "/b", "value": 2}])
json.remove({"a": 1, "b": 2}, ["a"])
json.unmarshal("[1]")
net.cidr_contains("10.0.0.0/8", "10.1.2.3")
net.cidr_is_valid("10.0.0.0/8")
numbers.range(1, 3)
numbers.range_step(1, 5, 2)
object.filter({"a": 1, "b": 2}, ["a"])
object.get({"a": 1}, "a", 0)
object.keys({"a": 1})
object.remove({"a": 1, "b": 2}, ["a"])
object.subset({"a": 1, "b": 2}, {"a": 1})
object.union({"a": 1}, {"b": 2})
object.union_n([{"a": 1}, {"b": 2}])
regex.find_all_string_submatch_n("a(b)", "ab", -1)
regex.find_n("a", "aba", 2)
regex.is_valid("a+")
regex.match("^a+$", "aa")
regex.replace("aba", "a", "x")
regex.template_match("urn:{.*}", "urn:a", "{", "}")
semver.compare("1.0.0", "1.2.0")
semver.is_valid("1.0.0")
strings.any_prefix_match("abc", "a")
strings.any_suffix_match("abc", "c")
strings.reverse("abc")
time.clock(0)
time.date(0)
time.diff(86400000000000, 0)
time.format(0)
time.parse_duration_ns("1h30m")
time.parse_ns("2006-01-02", "2024-02-03")
time.parse_rfc3339_ns("2024-02-03T04:05:06Z")
time.weekday(0)
units.parse("10K")
units.parse_bytes("1KB")
urlquery.decode("a%20b")
urlquery.decode_object("a=1&b=2")
urlquery.encode("a b")
urlquery.encode_object({"a": "1"})
uuid.parse("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
"""
SAMPLES = {line.partition("(")[0]: line for line in _TABLE.strip().splitlines()}
"""A call of each built-in, by its name, that any engine answers with a value."""


def check(names: Iterable[str]) -> None:
    """Call each of these built-ins once.

    Raises:
        PolicyError: the engine answers one of them with undefined, or with an error.
    """
    for name in sorted(names):
        problem = _problem(name)
        if problem is not None:
            raise PolicyError(
                f"the engine does not carry out {name}", got=f"{SAMPLES.get(name, name)}: {problem}", expected="a value"
            )


@functools.cache
def _problem(name: str) -> str | None:
    """What is wrong with a built-in, if anything."""
    if name not in SAMPLES:
        return "there is no sample call of it"
    try:
        engine = prepare({"probe.rego": f"package probe\n\nimport rego.v1\n\nvalue := {SAMPLES[name]}\n"}, {})
        answer = engine.eval_query_as_json("data.probe.value")
    except CompanyOSError:
        raise
    except Exception as error:  # noqa: BLE001 - regorus raises RuntimeError; whatever it is, the function does not work
        return first_lines(error)
    return None if json.loads(answer).get("result") else "undefined"
