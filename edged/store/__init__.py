"""The truth: objects as registers in one SQLite file, their changes in order, writes that are on disk when acknowledged."""
