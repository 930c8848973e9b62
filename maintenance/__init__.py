"""Maintenance of a PostgreSQL database from one policy file: delete, vacuum, keep statistics fresh."""

__version__ = "0.1.0"
