"""Where a run keeps what it knows: the database, the files, the lock of a workspace."""

DATABASE = "streamflow.db"
"""The name of a workspace's database."""
