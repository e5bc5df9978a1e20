"""The store's library is loaded without pandas, and pandas can be loaded afterwards all the same."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.requirement("REC-001")

PROGRAM = """
import sys
{first}
from bedside.core.tables import Database
db = Database(memory=True)
db["t"].insert({{"a": 1}})
assert list(db["t"].rows) == [{{"a": 1}}]
print("numpy" in sys.modules, "pandas" in sys.modules)
import pandas
assert pandas.DataFrame({{"a": [1]}}).shape == (1, 1)
"""


@pytest.mark.parametrize(("first", "said"), [("", "False False"), ("import pandas", "True True")])
def test_the_store_needs_no_pandas_and_takes_none_away(first: str, said: str) -> None:
    program = [sys.executable, "-c", PROGRAM.format(first=first)]
    result = subprocess.run(program, capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == said
