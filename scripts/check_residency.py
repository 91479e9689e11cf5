"""Judge `configs/vendor_residency.yaml` and write how requests are spread over regions, as a pipeline does it.

`python scripts/check_residency.py [FILE]` is `companyos residency check FILE --csv ...`, with the same exit status.
"""

from __future__ import annotations

import sys

from companyos.cli import main

FILE = "configs/vendor_residency.yaml"
DISTRIBUTION = "metrics/compliance/vendor_region_distribution.csv"

if __name__ == "__main__":
    sys.exit(main(["residency", "check", *(sys.argv[1:] or [FILE]), "--csv", DISTRIBUTION]))
