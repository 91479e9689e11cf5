"""What costs money before it does: tags, lifetimes and spot capacity in infrastructure as code.

Start here: `check_infrastructure([Path(".")])`.
"""

from companyos.finops.infrastructure.checking import Infrastructure, check_infrastructure
from companyos.finops.infrastructure.interface import Policy, Resource, Unread
from companyos.finops.infrastructure.judging import RULES
from companyos.finops.infrastructure.spending import check_spending_tags

__all__ = (
    "RULES",
    "Infrastructure",
    "Policy",
    "Resource",
    "Unread",
    "check_infrastructure",
    "check_spending_tags",
)
