"""A connection to the session's server, and a database of the test's own."""

from sinks import connection, database

__all__ = ["connection", "database"]
