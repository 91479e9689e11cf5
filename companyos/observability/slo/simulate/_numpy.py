"""numpy, or the one line that says how to install it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
else:
    from companyos._extras import require

    np = require("numpy", extra="slo")

__all__ = ("np",)
