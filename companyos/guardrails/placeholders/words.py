"""The words by which G01 knows a promise, a figure, a mock and a placeholder, for all languages.

The patterns are spelt so that none of them matches its own source.
"""

from __future__ import annotations

import re

__all__ = (
    "MARKER",
    "METRIC",
    "MOCK_LIBRARIES",
    "NOT_IMPLEMENTED",
    "PLACEHOLDER_TEXT",
    "PROMISES_FIGURE",
    "PROMISES_WORK",
)

MARKER = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|TB" + r"D|XX" + r"X)\b|\b(to" + r"do|fix" + r"me)(?=[:(])")
"""Marks of unfinished work, as the seed lists them."""

PROMISES_WORK = re.compile(
    r"_*(validate|verify|check|authori[sz]e|authenticate|is_valid|is_allowed|is_authori[sz]ed|compute|calculate|measure|"
    r"detect|scan|predict|analy[sz]e|classify|score|evaluate|estimate|forecast|process|encrypt|decrypt|sign|hash|parse|"
    r"transform|convert|search|rank|recommend|reconcile|audit|charge|refund|transfer)(?=_|$|[A-Z])"
)
"""Names of functions that say they do something with what they are given."""

PROMISES_FIGURE = re.compile(
    r"_*(measure|compute|calculate|evaluate|benchmark|score|estimate|profile|assess|(get|collect|report|generate)_?\w*"
    r"(metric|accuracy|precision|recall|f1|coverage|latency|throughput|score|rate|stats|kpi|performance|quality))"
)
"""Names of functions that say they find out a figure."""

METRIC = re.compile(
    r"(?i)(^|_)(accuracy|precision|recall|f1(_score)?|score|latency|p50|p95|p99|coverage|hit_ratio|hit_rate|throughput|"
    r"success_rate|error_rate|uptime|availability|confidence|auc|mae|rmse|improvement)(_(ms|s|pct|percent|seconds))?$"
)
"""Names of figures that are measured."""

MOCK_LIBRARIES = re.compile(
    r"(unittest\.mock|mock|pytest_mock|responses|respx|moto|vcr|httpretty|requests_mock|fakeredis|freezegun|"
    r"factory|faker|mongomock|pytest_httpx)(\.|$)"
)
"""Modules that exist to stand in for something else."""

NOT_IMPLEMENTED = re.compile(
    r"\b(not\s+(yet\s+)?implemented|unimplemented|implement\s+me|coming\s+soon)\b", re.IGNORECASE
)
"""What people write where the work is missing."""

PLACEHOLDER_TEXT = re.compile(
    r"lorem\s+ipsum|\byour[-_ ](api|secret|access|auth|client)[-_ ]?\w*[-_ ]?(key|token|secret|id)?([-_ ]here)?\b(?!')|"
    r"\bchange[-_]?me\b|\breplace[-_ ]me\b|\binsert[-_ ]\w+[-_ ]here\b|\bplaceholder\s(text|value|data|content)\b|"
    r"\bdummy\s(text|value|data|content|user)\b|\bfoo\s?bar\s?baz\b",
    re.IGNORECASE,
)
"""Text that was meant to be replaced."""
