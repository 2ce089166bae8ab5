"""The table of an embedded store: its formats, and the statements about it.

Beside what the index needs a row has what no index knows: when it was written and by whom, whether
the next row belongs to the same transaction, and a sum over key and value, because SQLite has no
checksums of what it stores.
"""

from zlib import crc32

APPLICATION_ID = 0x6B707931
"""Marks the file as kpy's (`kpy1`), so that another program's database is not taken for ours."""
FORMAT = 4
REMOVE_LEFT = """
DELETE FROM log WHERE revision <= (SELECT value FROM state WHERE name = 'compacted')
AND (value IS NULL OR revision IN (
    SELECT replacing.previous FROM log AS replacing
    WHERE replacing.revision <= (SELECT value FROM state WHERE name = 'compacted')))
"""
MIGRATIONS = {
    1: ("ALTER TABLE log ADD COLUMN version INTEGER NOT NULL DEFAULT 1",),
    2: (
        "ALTER TABLE log ADD COLUMN at INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE log ADD COLUMN author TEXT NOT NULL DEFAULT ''",
        # What a compaction that was cut off has left: from now on such rows are history.
        REMOVE_LEFT,
    ),
    3: (
        "ALTER TABLE log ADD COLUMN more INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE log ADD COLUMN sum INTEGER NOT NULL DEFAULT 0",
    ),
}
"""A file of an older kpy is brought to today's format at its start; older ones then refuse it."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
    revision INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    create_revision INTEGER NOT NULL,
    previous INTEGER NOT NULL,  -- revision that this write replaces; 0: none
    lease INTEGER NOT NULL,
    version INTEGER NOT NULL DEFAULT 1, -- how often the key was written; added by format 2
    at INTEGER NOT NULL DEFAULT 0,      -- milliseconds of the epoch; added by format 3
    author TEXT NOT NULL DEFAULT '',    -- verb and user; added by format 3
    more INTEGER NOT NULL DEFAULT 0,    -- 1: the next row is of the same transaction; format 4
    sum INTEGER NOT NULL DEFAULT 0,     -- `checksum`; 0: written before format 4
    value BLOB                          -- NULL: the key was deleted
);
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
APPEND = (
    "INSERT INTO log (revision, key, create_revision, previous, lease, version, value, at, author,"
    " more, sum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
SET_STATE = "INSERT OR REPLACE INTO state (name, value) VALUES (?, ?)"
REPLACE = "UPDATE log SET value = ?, sum = ? WHERE revision = ?"
VALUE = "SELECT value, key, sum FROM log WHERE revision = ?"
ALL_VALUES = "SELECT value, key, sum FROM log ORDER BY revision"
TRANSACTION_END = "SELECT min(revision) FROM log WHERE revision >= ? AND more = 0"
COUNT = (
    "SELECT count(*), max(revision) FROM"
    " (SELECT revision FROM log WHERE revision > ? ORDER BY revision LIMIT ?)"
)
REMOVE = "DELETE FROM log WHERE revision BETWEEN ? AND ?"
SCAN = (
    "SELECT revision, key, create_revision, lease, version, value IS NULL FROM log"
    " WHERE revision > ? ORDER BY revision LIMIT ?"
)
HISTORY = """
SELECT log.key, coalesce(log.value, before.value), log.revision, log.create_revision,
       log.value IS NULL, log.lease, log.version
FROM log LEFT JOIN log AS before ON log.value IS NULL AND before.revision = log.previous
WHERE log.revision > ? AND log.revision <= ? AND log.key >= ? AND log.key < ?
ORDER BY log.revision LIMIT ?
"""
SUPERSEDING = """
SELECT log.revision, log.key, log.previous, log.value IS NULL, length(before.value)
FROM log LEFT JOIN log AS before ON before.revision = log.previous
WHERE log.revision > ? AND log.revision <= ? ORDER BY log.revision LIMIT ?
"""
PAST_ROWS = 1024
"""Rows that one step of a search through the past looks at: some milliseconds of the thread."""
PAST_STEP = "SELECT revision FROM log WHERE revision < ? ORDER BY revision DESC LIMIT 1 OFFSET ?"
PAST = """
SELECT revision, key, create_revision, value IS NULL, at, author FROM log
WHERE revision < ? AND revision >= ? AND key >= ? AND key <= ? ORDER BY revision DESC
"""


def checksum(key: str, value: bytes | None) -> int:
    """Return what stands in a row beside its key and value."""
    return crc32(value or b"", crc32(key.encode()))


def is_sound(key: str, value: bytes | None, found: int) -> bool:
    """Tell whether a row holds what was written; of rows older than format 4 that is not known."""
    return not found or found == checksum(key, value)
