"""Quantiles of classic histograms.

Source: Prometheus 2.42 `promql/quantile.go`, `bucketQuantile`, and `promql/functions.go`, `funcHistogramQuantile`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from companyos.observability.slo.simulate._numpy import np
from companyos.observability.slo.simulate.series import NAME, Labels, Row, without

if TYPE_CHECKING:
    from companyos.observability.slo.simulate.series import Mask, Values

__all__ = ("histogram_quantile",)


def histogram_quantile(quantile: Values, rows: list[Row]) -> list[Row]:
    """The quantile of each histogram, linear inside a bucket; NaN without observations or without a bucket `+Inf`."""
    histograms: dict[Labels, list[tuple[float, Row]]] = {}
    for row in rows:
        try:
            bound = float(dict(row.labels).get("le", ""))
        except ValueError:
            continue
        histograms.setdefault(without(row.labels, ("le", NAME)), []).append((bound, row))
    return [Row(labels, *_quantiles(quantile, buckets)) for labels, buckets in histograms.items()]


def _quantiles(quantile: Values, buckets: list[tuple[float, Row]]) -> tuple[Values, Mask]:
    buckets = sorted(buckets, key=lambda bucket: bucket[0])
    present = np.array([row.present for _, row in buckets])
    counts = np.array([row.values for _, row in buckets])
    bounds = np.array([bound for bound, _ in buckets])
    result = np.full(len(quantile), np.nan)
    patterns, which = np.unique(present, axis=1, return_inverse=True)
    for number in range(patterns.shape[1]):
        chosen, at = patterns[:, number], which.ravel() == number
        if chosen.any():
            result[at] = _of_full(quantile[at], bounds[chosen], counts[np.ix_(chosen, at)])
    return result, np.logical_or.reduce(present, axis=0)


def _of_full(quantile: Values, bounds: Values, counts: Values) -> Values:
    """The same, where every bucket is there; `counts` has a row for each bucket."""
    if bounds[-1] != math.inf:
        return np.full(len(quantile), np.nan)
    edges = np.unique(bounds)
    merged = np.array([counts[bounds == edge].sum(axis=0) for edge in edges])
    merged = np.fmax.accumulate(merged, axis=0)
    if len(edges) < 2:
        return np.full(len(quantile), np.nan)
    total = merged[-1]
    with np.errstate(all="ignore"):
        rank = quantile * total
        index = np.minimum((merged[:-1] < rank).sum(axis=0), len(edges) - 1)
        columns = np.arange(len(quantile))
        below = np.where(index > 0, merged[index - 1, columns], 0.0)
        start = np.where(index > 0, edges[index - 1], 0.0)
        inside = start + (edges[index] - start) * ((rank - below) / (merged[index, columns] - below))
        found = np.where(index == len(edges) - 1, edges[-2], inside)
        found = np.where((index == 0) & (edges[0] <= 0), edges[0], found)
    found = np.where(total == 0, np.nan, found)
    found = np.where(quantile < 0, -np.inf, np.where(quantile > 1, np.inf, found))
    return np.where(np.isnan(quantile), np.nan, found)
