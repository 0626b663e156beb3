-- The audit log is the truth: what is registered, disabled and rotated is read from its verified entries at start.
-- The model table holds what the log must not: the policy's text and the wrapped key. The log holds their digests.

CREATE TABLE audit_entry (
    entry_index INTEGER PRIMARY KEY NOT NULL,   -- position in the log, from 0
    entry BLOB NOT NULL                         -- canonical JSON
) STRICT;

CREATE TABLE audit_checkpoint (
    id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    note TEXT NOT NULL                          -- the newest signed checkpoint
) STRICT;

CREATE TABLE model (
    model_id TEXT PRIMARY KEY NOT NULL,
    version INTEGER NOT NULL,
    manifest_digest BLOB NOT NULL,
    owner_key TEXT NOT NULL,                    -- hexadecimal form of the manifest-signing key
    policy TEXT NOT NULL,
    wrap TEXT NOT NULL                          -- JSON of one wrap: the model key under the tenant's key
) STRICT;

-- Pages that readiness writes and takes back.
CREATE TABLE probe (
    pages BLOB NOT NULL
) STRICT;
