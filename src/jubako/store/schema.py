"""The tables of state.db.

A change of this file needs a new VERSION and a step in `_MIGRATIONS`: what an older engine wrote
stays readable.  JSON columns are canonical JSON text.  Times are RFC 3339 text in UTC with
nanoseconds, as Docker writes them, or `_ns` integers of nanoseconds since 1970.
"""

from __future__ import annotations

from jubako.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

VERSION = 3

_EXECS = """
-- processes that were started in running containers beside the first
CREATE TABLE execs (
    id TEXT PRIMARY KEY,            -- 64 hex digits
    container_id TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    record TEXT NOT NULL,           -- JSON: containers.model.ExecRecord
    status TEXT NOT NULL,           -- created running exited
    pid INTEGER NOT NULL DEFAULT 0, -- in the host's pid namespace
    holder INTEGER NOT NULL DEFAULT 0, -- PID of the process that waits for it
    boot_id TEXT NOT NULL DEFAULT '',
    exit_code INTEGER,              -- NULL until it has ended, and when nobody saw the end
    finished_ns INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX execs_container_id ON execs(container_id);
"""

_RECORDER = """
-- what happened: `jubako events`, `jubako why`.  Nothing refers to other tables: these rows stay
-- when the objects are gone, until they are too old
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ns INTEGER NOT NULL,
    type TEXT NOT NULL,             -- container image network volume daemon
    action TEXT NOT NULL,
    actor TEXT NOT NULL,            -- ID or name of the object
    attributes TEXT NOT NULL        -- JSON object of texts
);
CREATE INDEX events_at_ns ON events(at_ns);
CREATE INDEX events_actor ON events(actor, at_ns);
CREATE TABLE samples (
    container_id TEXT NOT NULL,
    at_ns INTEGER NOT NULL,
    record TEXT NOT NULL,           -- JSON: what the container used
    PRIMARY KEY (container_id, at_ns)
) WITHOUT ROWID;
"""

# every command asks for these first, and a thousand stopped containers must not make it slower
_ACTIVE = "CREATE INDEX containers_boot_id ON containers(boot_id, status) WHERE boot_id != '';"

_REGISTRIES = """
-- what registries call an image and its layers.  Whether a blob is kept: see the content store
CREATE TABLE manifests (
    digest TEXT PRIMARY KEY,        -- of a manifest or an index that it was pulled or pushed with
    image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    media_type TEXT NOT NULL,
    seen_ns INTEGER NOT NULL        -- the latest pull or push
) WITHOUT ROWID;
CREATE INDEX manifests_image_id ON manifests(image_id);
CREATE TABLE blobs (
    digest TEXT PRIMARY KEY,        -- of the layer as it is sent, compressed or not
    diff_id TEXT NOT NULL,          -- of the layer
    media_type TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    recipe TEXT NOT NULL DEFAULT '' -- by which the same bytes are made of the tar; '': unknown
) WITHOUT ROWID;
CREATE INDEX blobs_diff_id ON blobs(diff_id);
CREATE TABLE blob_sources (
    digest TEXT NOT NULL REFERENCES blobs(digest) ON DELETE CASCADE,
    repository TEXT NOT NULL,       -- docker.io/library/busybox: one that has it
    seen_ns INTEGER NOT NULL,
    PRIMARY KEY (digest, repository)
) WITHOUT ROWID;
"""

TABLES = f"""
-- images: an image is its config; the ID is the config's digest
CREATE TABLE images (
    id TEXT PRIMARY KEY,            -- sha256:<hex> of the config blob
    parent TEXT,                    -- image it was made from on this machine (commit, build)
    created TEXT NOT NULL,          -- as in the config; "" when unknown
    size_bytes INTEGER NOT NULL,    -- sum of its layers' unpacked sizes
    config TEXT NOT NULL,           -- the config's exact text
    last_used_ns INTEGER NOT NULL,
    removed INTEGER NOT NULL DEFAULT 0 -- 1: removed by force, kept for the containers that use it
) WITHOUT ROWID;
CREATE INDEX images_parent ON images(parent);
CREATE TABLE image_layers (
    image_id TEXT NOT NULL REFERENCES images(id) ON DELETE CASCADE,
    position INTEGER NOT NULL,      -- 0 is the lowest layer
    diff_id TEXT NOT NULL,
    PRIMARY KEY (image_id, position)
) WITHOUT ROWID;
CREATE INDEX image_layers_diff_id ON image_layers(diff_id);
CREATE TABLE layers (
    diff_id TEXT PRIMARY KEY,       -- sha256:<hex> of the uncompressed tar
    driver TEXT NOT NULL,           -- "overlay", "erofs"
    size_bytes INTEGER NOT NULL,    -- of the regular files' content
    tar_bytes INTEGER NOT NULL      -- of the uncompressed tar
) WITHOUT ROWID;
CREATE TABLE tags (
    name TEXT PRIMARY KEY,          -- canonical: docker.io/library/busybox:latest
    image_id TEXT NOT NULL REFERENCES images(id),
    updated_ns INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX tags_image_id ON tags(image_id);

-- containers
CREATE TABLE containers (
    id TEXT PRIMARY KEY,            -- 64 hex digits
    name TEXT NOT NULL UNIQUE,      -- without the leading slash
    image_id TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    record TEXT NOT NULL,           -- JSON: containers.model.ContainerRecord
    status TEXT NOT NULL,           -- created running paused restarting exited dead removing
    pid INTEGER NOT NULL DEFAULT 0, -- of its init, in the host's pid namespace
    boot_id TEXT NOT NULL DEFAULT '',
    exit_code INTEGER NOT NULL DEFAULT 0,
    oom_killed INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    started TEXT NOT NULL DEFAULT '0001-01-01T00:00:00Z',
    finished TEXT NOT NULL DEFAULT '0001-01-01T00:00:00Z',
    endpoint TEXT NOT NULL DEFAULT '{{}}', -- JSON: networks.Endpoint while it runs
    restart_count INTEGER NOT NULL DEFAULT 0, -- by its restart policy since a user started it
    stop_requested INTEGER NOT NULL DEFAULT 0, -- 1: a user stopped it, its restart policy rests
    health TEXT NOT NULL DEFAULT ''  -- JSON: the API's Health object; '' without health check
) WITHOUT ROWID;
CREATE INDEX containers_image_id ON containers(image_id);
CREATE INDEX containers_status ON containers(status);
{_ACTIVE}

-- networks
CREATE TABLE networks (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    driver TEXT NOT NULL,           -- bridge host null
    record TEXT NOT NULL            -- JSON
) WITHOUT ROWID;
CREATE TABLE leases (
    network_id TEXT NOT NULL REFERENCES networks(id) ON DELETE CASCADE,
    address INTEGER NOT NULL,       -- IPv4 as a number
    container_id TEXT NOT NULL,
    record TEXT NOT NULL DEFAULT '{{}}', -- JSON: the endpoint
    PRIMARY KEY (network_id, address)
) WITHOUT ROWID;
CREATE INDEX leases_container_id ON leases(container_id);
CREATE TABLE ports (
    protocol TEXT NOT NULL,         -- tcp udp sctp
    host_ip TEXT NOT NULL,
    host_port INTEGER NOT NULL,
    container_id TEXT NOT NULL,
    container_ip TEXT NOT NULL,
    container_port INTEGER NOT NULL,
    PRIMARY KEY (protocol, host_ip, host_port)
) WITHOUT ROWID;
CREATE INDEX ports_container_id ON ports(container_id);
CREATE TABLE port_cursors (
    protocol TEXT PRIMARY KEY,
    last_port INTEGER NOT NULL      -- the ephemeral port given away last: they go round
) WITHOUT ROWID;

-- volumes
CREATE TABLE volumes (
    name TEXT PRIMARY KEY,
    driver TEXT NOT NULL,
    created TEXT NOT NULL,
    labels TEXT NOT NULL,           -- JSON object
    options TEXT NOT NULL,          -- JSON object
    anonymous INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE volume_uses (
    volume TEXT NOT NULL REFERENCES volumes(name),
    container_id TEXT NOT NULL,
    PRIMARY KEY (volume, container_id)
) WITHOUT ROWID;
CREATE INDEX volume_uses_container_id ON volume_uses(container_id);
{_REGISTRIES}
{_EXECS}
{_RECORDER}
"""

_MIGRATIONS = {  # version it leads to -> SQL
    2: f"""
ALTER TABLE containers ADD COLUMN restart_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE containers ADD COLUMN stop_requested INTEGER NOT NULL DEFAULT 0;
ALTER TABLE containers ADD COLUMN health TEXT NOT NULL DEFAULT '';
{_EXECS}
{_RECORDER}
{_ACTIVE}
""",
    3: f"""
ALTER TABLE images DROP COLUMN manifest;
ALTER TABLE layers DROP COLUMN blob;
{_REGISTRIES}
""",
}


def prepare(db: sqlite3.Connection) -> None:
    """Make the tables, or bring those of an older version up to date; nothing else is touched.

    Raises Unsupported if a newer engine wrote the file.
    """
    if _version(db) == VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        found = _version(db)  # another process may have been faster
        if found > VERSION:
            raise Unsupported(
                f"open state.db: it has version {found}, this engine knows up to {VERSION}",
                hint="use the newer jubako that wrote it",
            )
        scripts = (
            [TABLES] if found == 0 else [_MIGRATIONS[v] for v in range(found + 1, VERSION + 1)]
        )
        for script in scripts:
            _execute_all(db, script)
        db.execute(f"PRAGMA user_version = {VERSION}")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _execute_all(db: sqlite3.Connection, script: str) -> None:
    """Run statements inside the open transaction (executescript would commit it first)."""
    lines = (line.partition("--")[0] for line in script.splitlines())
    for statement in "\n".join(lines).split(";"):
        if statement.strip():
            db.execute(statement)
