"""Bills of millions of rows: read, cleaned and added up by DuckDB, kept as Parquet."""

from companyos.finops.bulk.aggregate import aggregate
from companyos.finops.bulk.bills import open_bill
from companyos.finops.bulk.queries import QUERIES, transpiled

__all__ = ("QUERIES", "aggregate", "open_bill", "transpiled")
