"""Who answers for which costs: rules in order, pools that are shared out, nothing dropped.

Start here: `allocate(store, AllocationRules.load(path), by="team")`.
"""

from companyos.finops.allocation.engine import Allocation, AllocationLine, allocate
from companyos.finops.allocation.rules import AllocationRules, Pool, Rule
from companyos.finops.allocation.split import split_exactly

__all__ = ("Allocation", "AllocationLine", "AllocationRules", "Pool", "Rule", "allocate", "split_exactly")
