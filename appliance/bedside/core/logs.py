"""Logging: one JSON line an event, with its fields; to a file that rotates. No patient data goes into a log line."""

from __future__ import annotations

import json
import logging
import logging.handlers
from pathlib import Path

from bedside.core.time import iso_utc

BYTES_MAX = 2_000_000
FILES = 3

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_NOISY = ("bumble", "bleak", "werkzeug", "asyncio")


class JsonLine(logging.Formatter):
    """`{"time", "level", "from", "event", …fields}`; an exception's traceback under `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": iso_utc(int(record.created * 1_000_000)),
            "level": record.levelname.lower(),
            "from": record.name,
            "event": record.getMessage(),
        }
        line.update((key, value) for key, value in vars(record).items() if key not in _STANDARD)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def set_up_logs(folder: Path, name: str) -> Path:
    """Send this process's log to `folder/name.log`, two older files kept; the file's path."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{name}.log"
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=BYTES_MAX, backupCount=FILES - 1)
    handler.setFormatter(JsonLine())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return path
