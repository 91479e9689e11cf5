"""The small FOCUS file that ships with the package, copies of it with a planted overspend, and made-up daily costs.

The file is written by `scripts/build_focus_sample.py`: six weeks from Monday 2024-08-26, in the shape and with the
quirks of the public FOCUS 1.0 sample, about USD 230 a week.
"""

from companyos.finops.samples.sample import AS_OF, plant_overspend, sample_path
from companyos.finops.samples.workloads import WORKLOADS, made_up_costs

__all__ = ("AS_OF", "WORKLOADS", "made_up_costs", "plant_overspend", "sample_path")
