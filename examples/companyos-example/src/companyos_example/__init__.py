"""A CompanyOS plugin that adds an engine, a control, a channel and a command."""
