"""Where prompts may go: vendors, endpoints with a known place, attestations; judged before a byte leaves.

Start here: `ResidencyGuard(ResidencyPolicy.load(path)).check(provider=..., endpoint=..., data_class=...)`.
"""

from companyos.llm.residency.distribution import COLUMNS, Share, distribution, to_csv
from companyos.llm.residency.endpoints import Endpoint, Place, parse_endpoint, shipped_places
from companyos.llm.residency.errors import ResidencyFileError, ResidencyRefusedError
from companyos.llm.residency.guard import REFUSAL, LocalOnly, ResidencyGuard
from companyos.llm.residency.judging import judge_flags, judge_redirect, judge_request, judge_vendor
from companyos.llm.residency.policy import Attestation, DataClass, Enforcement, ResidencyPolicy, Vendor

__all__ = (
    "COLUMNS",
    "REFUSAL",
    "Attestation",
    "DataClass",
    "Endpoint",
    "Enforcement",
    "LocalOnly",
    "Place",
    "ResidencyFileError",
    "ResidencyGuard",
    "ResidencyPolicy",
    "ResidencyRefusedError",
    "Share",
    "Vendor",
    "distribution",
    "judge_flags",
    "judge_redirect",
    "judge_request",
    "judge_vendor",
    "parse_endpoint",
    "shipped_places",
    "to_csv",
)
