"""What could cost less, from the charges alone: each advice with its amount, and nothing that the data do not say.

Start here: `advise(store)`.
"""

from companyos.finops.advice.advising import advise
from companyos.finops.advice.interface import Advice, Advised, Unadvised

__all__ = ("Advice", "Advised", "Unadvised", "advise")
