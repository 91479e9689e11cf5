"""A server of language models on a real socket, that can also fail in every way that providers do."""

from companyos.testing.llm.faults import Fault
from companyos.testing.llm.server import LlmServer, Seen

__all__ = ("Fault", "LlmServer", "Seen")
