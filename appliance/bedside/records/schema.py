"""The database's tables, by numbered migrations. Unsealed are only surrogate ids, bounds, schemas, key ids and sizes.

Everything that is recorded is an *entry*, appended and never changed. An entry's position in the whole
store is its place in the log; `seq` counts the entries of its *series* (a patient with her events, a
stream, or the box: number 0). Entries are found by time: indexes on (start_us, series) that only ever
grow at their end, because an index that began with the series would dirty a page for each stream and second.
"""

from __future__ import annotations

from bedside.core.errors import SetupError
from bedside.core.tables import Database, Migrations

LAYOUT_VERSION = 1  # of the data folder as a whole: the file VERSION

FORM_PATIENT = 1
FORM_STREAM = 2
FORM_WAVE = 3
FORM_EVENTS = 4
FORM_NAMES = {FORM_PATIENT: "patient", FORM_STREAM: "stream", FORM_WAVE: "wave", FORM_EVENTS: "events"}

SPAN_US_MAX = 10_000_000  # a longer entry is found through its own index
BOX_SERIES = 0

records = Migrations("records")


@records(name="0001_entries")
def entries(db: Database) -> None:
    """The tables of the first release."""
    for statement in (
        # Who a number stands for. `owner` is the patient's series; a patient and the box own themselves.
        "CREATE TABLE series (number INTEGER PRIMARY KEY, form INTEGER NOT NULL, id TEXT NOT NULL,"
        " owner INTEGER NOT NULL) STRICT",
        f"INSERT INTO series VALUES ({BOX_SERIES}, 0, 'box', {BOX_SERIES})",  # noqa: S608 (a constant)
        "CREATE TABLE data_key (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE) STRICT",
        "CREATE TABLE entry (position INTEGER PRIMARY KEY, form INTEGER NOT NULL, series INTEGER NOT NULL,"
        " seq INTEGER NOT NULL, first_index INTEGER NOT NULL, n INTEGER NOT NULL, start_us INTEGER NOT NULL,"
        " span_us INTEGER NOT NULL, schema INTEGER NOT NULL, data_key INTEGER NOT NULL, sealed BLOB NOT NULL) STRICT",
        f"CREATE INDEX entry_waves ON entry (start_us, series) WHERE form = {FORM_WAVE}",
        f"CREATE INDEX entry_events ON entry (start_us, series) WHERE form = {FORM_EVENTS}",
        f"CREATE INDEX entry_long ON entry (start_us) WHERE span_us > {SPAN_US_MAX}",
        f"CREATE INDEX entry_definition ON entry (series) WHERE form <= {FORM_STREAM}",
        # What could be worked out again from the entries, as of `position`: one row a patient, and the box's.
        "CREATE TABLE checkpoint (series INTEGER PRIMARY KEY, position INTEGER NOT NULL, schema INTEGER NOT NULL,"
        " data_key INTEGER NOT NULL, sealed BLOB NOT NULL) STRICT",
        # Heads of the log over entries 0 to size - 1 (RFC 9162), each with a seal that needs the box key.
        "CREATE TABLE head (size INTEGER PRIMARY KEY, root BLOB NOT NULL, seal BLOB NOT NULL) STRICT",
        "CREATE TABLE flag (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT",
        "INSERT INTO flag VALUES ('clean', 1)",
    ):
        db.execute(statement)


@records(name="0002_packs")
def packs(db: Database) -> None:
    """Many old entries of one series in one row; the trends of numbers."""
    for statement in (
        # Entries seq to seq + count - 1 of a series, which stood at positions between position and last_position.
        "CREATE TABLE pack (position INTEGER PRIMARY KEY, last_position INTEGER NOT NULL, form INTEGER NOT NULL,"
        " series INTEGER NOT NULL, seq INTEGER NOT NULL, count INTEGER NOT NULL, n INTEGER NOT NULL,"
        " start_us INTEGER NOT NULL, span_us INTEGER NOT NULL, schema INTEGER NOT NULL, data_key INTEGER NOT NULL,"
        " sealed BLOB NOT NULL) STRICT",
        "CREATE INDEX pack_time ON pack (series, form, start_us)",
        "CREATE INDEX pack_seq ON pack (series, seq)",
        "CREATE INDEX pack_last ON pack (last_position)",
        # An hour of a patient's numbers, summed up by the minute; `series` is the patient's.
        "CREATE TABLE trend (series INTEGER NOT NULL, hour INTEGER NOT NULL, schema INTEGER NOT NULL,"
        " data_key INTEGER NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (series, hour)) STRICT, WITHOUT ROWID",
        # Trends are kept with the checkpoints: without any, both are worked out again from the entries.
        "DELETE FROM checkpoint",
    ):
        db.execute(statement)


@records(name="0003_erased")
def erased(db: Database) -> None:
    """Patients whose records are erased, each with the signed certificate. Their rows may still be going."""
    db.execute("CREATE TABLE erased (series INTEGER PRIMARY KEY, certificate TEXT NOT NULL) STRICT")


def known_names() -> list[str]:
    """The migrations of this version, in order."""
    return [step.name for step in records._migrations]


def migrate(db: Database) -> None:
    """Bring the database to this version. Raises `SetupError` when a newer Bedside wrote it."""
    newer = {step.name for step in records.applied(db)} - set(known_names())
    if newer:
        raise SetupError(
            f"the records were written by a newer Bedside (its step {sorted(newer)[0]} is not known here)",
            hint="run that version or a later one; nothing was changed",
        )
    if records.pending(db):
        records.apply(db)
