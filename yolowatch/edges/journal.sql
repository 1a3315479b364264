-- The journal: what was intended, what was done and what it led to.
--
-- One file for all runs of a user; every row that a plan needs is committed before its first effect.
-- Times are seconds since 1970 UTC. NULL is unknown or not yet. No table has room for an environment.

CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY,             -- eight hexadecimal digits, random
    command TEXT NOT NULL,           -- JSON list
    cwd TEXT NOT NULL,
    mode TEXT NOT NULL,
    -- who supervises it: a run whose supervisor lives is nobody else's to recover
    boot_id TEXT, pid INTEGER, start_ticks INTEGER,
    trainer TEXT,
    run_dir TEXT,
    began REAL NOT NULL,
    ended REAL,
    status INTEGER,                  -- what yolowatch itself exited with
    outcome TEXT
);

CREATE TABLE IF NOT EXISTS attempts (
    run TEXT NOT NULL REFERENCES runs (id),
    number INTEGER NOT NULL,         -- 0 is the user's own
    boot_id TEXT, pid INTEGER, start_ticks INTEGER,
    began REAL NOT NULL,
    ended REAL,
    status INTEGER,
    signal INTEGER,
    outcome TEXT,
    last_epoch INTEGER,              -- the last one that ended, counted from 0
    PRIMARY KEY (run, number)
);

CREATE TABLE IF NOT EXISTS incidents (
    id TEXT PRIMARY KEY,
    run TEXT NOT NULL REFERENCES runs (id),
    attempt INTEGER NOT NULL,
    kind TEXT NOT NULL,
    sentence TEXT NOT NULL,
    evidence TEXT NOT NULL,          -- JSON list of short facts
    opened REAL NOT NULL,
    closed REAL,
    outcome TEXT
);

CREATE TABLE IF NOT EXISTS plans (
    id TEXT PRIMARY KEY,
    run TEXT NOT NULL REFERENCES runs (id),
    incident TEXT NOT NULL REFERENCES incidents (id),
    attempt INTEGER NOT NULL,        -- the attempt that it starts
    body TEXT NOT NULL,              -- JSON
    written REAL NOT NULL,
    ended REAL,
    outcome TEXT
);

-- Rows are only ever added: an intent without a later row of its step is where a crash struck.
CREATE TABLE IF NOT EXISTS steps (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    plan TEXT NOT NULL REFERENCES plans (id),
    name TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('intent', 'done', 'failed')),
    detail TEXT NOT NULL,
    at REAL NOT NULL
);

CREATE TABLE IF NOT EXISTS files (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    plan TEXT NOT NULL REFERENCES plans (id),
    path TEXT NOT NULL,
    sha256_before TEXT,              -- NULL: there was no such file
    sha256_after TEXT,               -- NULL: it was removed
    copy TEXT,                       -- the original in the vault
    at REAL NOT NULL
);

CREATE TABLE IF NOT EXISTS checkpoints (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    run TEXT NOT NULL REFERENCES runs (id),
    attempt INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    copy TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    seconds REAL,
    at REAL NOT NULL
);

CREATE TABLE IF NOT EXISTS receipts (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    run TEXT NOT NULL REFERENCES runs (id),
    body TEXT NOT NULL,              -- JSON
    at REAL NOT NULL
);

-- What the daemon knew of an adopted run, so that a successor can go on; gone when the run ends.
CREATE TABLE IF NOT EXISTS mementos (
    run TEXT PRIMARY KEY REFERENCES runs (id),
    body TEXT NOT NULL,              -- JSON
    at REAL NOT NULL
);

-- What runs have taught of the memory of their kind: the first guess of the next one.
CREATE TABLE IF NOT EXISTS lessons (
    kind TEXT PRIMARY KEY,           -- JSON: everything that the memory of a batch depends on
    body TEXT NOT NULL,              -- JSON
    at REAL NOT NULL
);

CREATE INDEX IF NOT EXISTS attempts_by_run ON attempts (run);
CREATE INDEX IF NOT EXISTS incidents_by_run ON incidents (run);
CREATE INDEX IF NOT EXISTS plans_by_run ON plans (run);
CREATE INDEX IF NOT EXISTS steps_by_plan ON steps (plan);
CREATE INDEX IF NOT EXISTS files_by_plan ON files (plan);
CREATE INDEX IF NOT EXISTS checkpoints_by_run ON checkpoints (run);
CREATE INDEX IF NOT EXISTS receipts_by_run ON receipts (run);
