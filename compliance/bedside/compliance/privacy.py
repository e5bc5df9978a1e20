"""The map of personal data, held against the running code: every table and every kind of event must stand in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bedside.auditor import site
from bedside.core.events import EVENT_TYPES
from bedside.core.tables import Database, Migrations
from bedside.network import outbox
from bedside.operator import sink
from bedside.records import schema

_INTERNAL = frozenset({"_sqlite_migrations", "sqlite_sequence"})


def tables_of_the_code() -> dict[str, tuple[str, ...]]:
    """Database -> its tables, by making each database with its own migrations."""
    records = Database(memory=True)
    schema.migrate(records)
    found = {"records": _tables(records)}
    for name, migrations in (
        ("outbox", outbox.migrations),
        ("operator", sink.migrations),
        ("auditor", site.migrations),
    ):
        found[name] = _tables(_made(migrations))
    return found


def read_map(root: Path) -> Mapping[str, Any]:
    """`compliance/data-map.yaml`."""
    content: Mapping[str, Any] = yaml.safe_load((root / "compliance" / "data-map.yaml").read_text())
    return content


def missing(data_map: Mapping[str, Any]) -> list[str]:
    """What the code keeps and the map does not name, and the reverse; empty when they agree."""
    wrong = []
    for database, tables in tables_of_the_code().items():
        stated = set(data_map["databases"].get(database, {}).get("tables", {}))
        wrong += [f"table {database}.{table} is not in the data map" for table in sorted(set(tables) - stated)]
        wrong += [f"table {database}.{table} of the data map does not exist" for table in sorted(stated - set(tables))]
    stated = set(data_map["events"])
    wrong += [f"event {kind} is not in the data map" for kind in sorted(set(EVENT_TYPES) - stated)]
    wrong += [f"event {kind} of the data map does not exist" for kind in sorted(stated - set(EVENT_TYPES))]
    return wrong


def _made(migrations: Migrations) -> Database:
    database = Database(memory=True)
    migrations.apply(database)
    return database


def _tables(database: Database) -> tuple[str, ...]:
    return tuple(name for name in database.table_names() if name not in _INTERNAL)
