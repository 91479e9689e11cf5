"""One file a revision, named by the version of the schema that it leads to."""
