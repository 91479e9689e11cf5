"""Alembic's directory for the tables of states; `companyos.state.migration` runs it."""
