"""The small FOCUS file that ships with the package, and a way to plant an overspend in a copy of it.

Written by `scripts/build_focus_sample.py`: six weeks from Monday 2024-08-26, in the shape and with the quirks of the
public FOCUS 1.0 sample, about USD 230 a week.
"""

from companyos.finops.samples.sample import AS_OF, plant_overspend, sample_path

__all__ = ("AS_OF", "plant_overspend", "sample_path")
