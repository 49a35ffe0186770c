"""How long one commit of one row takes: SQLite as the server uses it, without the server.

Usage: commit.py DIRECTORY COUNT. Prints one time in microseconds a line.
"""

import os
import sqlite3
import sys
import time

directory, count = sys.argv[1], int(sys.argv[2])
path = os.path.join(directory, "commit-probe.db")
database = sqlite3.connect(path, isolation_level=None)
try:
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA wal_autocheckpoint = 0")
    database.execute("CREATE TABLE IF NOT EXISTS entries (seq INTEGER PRIMARY KEY, body TEXT)")
    for number in range(count):
        begun = time.perf_counter_ns()
        database.execute("BEGIN IMMEDIATE")
        database.execute("INSERT INTO entries (body) VALUES (?)", ("x" * 150,))
        database.execute("COMMIT")
        print((time.perf_counter_ns() - begun) // 1000)
finally:
    database.close()
    for suffix in ("", "-wal", "-shm"):
        if os.path.exists(path + suffix):
            os.remove(path + suffix)
