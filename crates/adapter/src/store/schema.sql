-- What there is of the store itself: its identity (`epoch`) and its count of changes (`counter`).
CREATE TABLE meta (
    key   TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Project archives by SHA-256; one archive serves all of its virtual hosts.
CREATE TABLE project (
    digest BLOB NOT NULL PRIMARY KEY,
    bytes  BLOB NOT NULL
) STRICT;

-- One API on one virtual host. The three unique rules are what a deploy answers 409 for.
CREATE TABLE deployment (
    organization TEXT    NOT NULL,
    vhost        TEXT    NOT NULL,
    api_id       TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    version      TEXT    NOT NULL,
    base_path    TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    environments TEXT    NOT NULL,
    origin       TEXT    NOT NULL,
    digest       BLOB    NOT NULL REFERENCES project (digest),
    counter      INTEGER NOT NULL,
    created      INTEGER NOT NULL,
    PRIMARY KEY (organization, vhost, api_id),
    UNIQUE (organization, vhost, name, version),
    UNIQUE (organization, vhost, base_path)
) STRICT, WITHOUT ROWID;

CREATE INDEX deployment_digest ON deployment (digest);
