"""The tables of our databases, as scripts that lead from one version to the next. A released script is never changed."""

LEDGER = (
    """
    CREATE TABLE job (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, key TEXT,
        priority INTEGER NOT NULL, kind TEXT NOT NULL, title TEXT NOT NULL, models TEXT NOT NULL, stages TEXT NOT NULL,
        plan TEXT NOT NULL, day TEXT NOT NULL, outputs TEXT NOT NULL, submitted REAL NOT NULL,
        state TEXT NOT NULL DEFAULT 'queued' CHECK (state IN
            ('queued', 'running', 'paused', 'done', 'failed', 'cancelled', 'quarantined')),
        wish TEXT NOT NULL DEFAULT '' CHECK (wish IN ('', 'cancel', 'pause')),
        attempt INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0, worker TEXT NOT NULL DEFAULT '',
        lease REAL NOT NULL DEFAULT 0, started REAL, ended REAL, reason TEXT NOT NULL DEFAULT '',
        results TEXT NOT NULL DEFAULT '[]', progress TEXT NOT NULL DEFAULT '{"phase": "wait"}', heartbeat REAL,
        UNIQUE (owner, key));
    CREATE INDEX job_by_state ON job (state);
    CREATE TABLE event (
        number INTEGER PRIMARY KEY, at REAL NOT NULL, job TEXT NOT NULL REFERENCES job (id) ON DELETE CASCADE,
        what TEXT NOT NULL);
    CREATE INDEX event_by_job ON event (job);
    CREATE TABLE turn (owner TEXT PRIMARY KEY, served INTEGER NOT NULL);
    CREATE TABLE setting (name TEXT PRIMARY KEY, value INTEGER NOT NULL)
    """,
    """
    ALTER TABLE job ADD COLUMN rank INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE job ADD COLUMN seconds REAL;
    UPDATE job SET seconds = json_extract(plan, '$.seconds');
    CREATE INDEX job_by_owner ON job (owner, number);
    CREATE TABLE worker (name TEXT PRIMARY KEY, models TEXT NOT NULL, seen REAL NOT NULL);
    CREATE TABLE tally (name TEXT PRIMARY KEY, value REAL NOT NULL)
    """,
)

LIBRARY = (
    """
    CREATE TABLE item (
        path TEXT PRIMARY KEY, kind TEXT NOT NULL, prompt TEXT NOT NULL, words TEXT NOT NULL, model TEXT NOT NULL,
        made REAL NOT NULL, score REAL, starred INTEGER NOT NULL, owner TEXT NOT NULL, job TEXT NOT NULL,
        stamp TEXT NOT NULL, problem TEXT NOT NULL);
    CREATE INDEX item_by_made ON item (made)
    """,
)
