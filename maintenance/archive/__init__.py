"""The archive: rows stored before they are deleted, read back before that is committed, and brought back when asked."""
