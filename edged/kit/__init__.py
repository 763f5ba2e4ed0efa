"""Tools without a domain: back-off, one-worker executor, supervision, private files, log."""
