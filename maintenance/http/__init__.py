"""HTTP: the verbs of the command line for callers from outside. It parses, calls the engine, and renders."""
