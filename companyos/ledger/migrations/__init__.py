"""Old schemas of a log and the way from each to the next; only an old log needs what is in here."""
