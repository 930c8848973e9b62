"""The benchmark: our runs and the statements that a user would write instead, in turn, on the same rows."""
