"""The root on the path, so that this room's tests find their helpers as `tests.ble.…` however pytest was started."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
