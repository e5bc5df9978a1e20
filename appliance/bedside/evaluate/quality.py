"""The quality index against people's: strips that a panel judged, a noisy class, real noise on clean leads.

Each folder is recognised by what it holds: an `.npz` of strips with a panel's verdicts (PhysioNet Challenge 2011), a
`REFERENCE.csv` with a noisy class `~` (Challenge 2017), records with experts' beats (`.atr`), or the three noises of the
Noise Stress Test (`bw`, `em`, `ma`), which are added to the records given beside them. Every strip goes through the
live `LeadAnalyser`. How seconds become a strip's verdict is stated in `STRIP_RULE`.

What was used for development and what was only judged is fixed here by record: see `is_development`.
"""

from __future__ import annotations

PANEL_DEVELOPMENT_TO = 2_085_388  # Challenge 2011: record numbers up to this one
NOISY_DEVELOPMENT_TO = 4_186  # Challenge 2017: A04186
CLEAN_DEVELOPMENT_TO = 199  # MIT-BIH: the 100 series; with the first half of each noise


def is_development(kind: str, record: str) -> bool:
    """Was this record used when the index was made? `kind`: panel, noisy, clean. Split by record number, once."""
    number = int("".join(one for one in record if one.isdigit()))
    to = {"panel": PANEL_DEVELOPMENT_TO, "noisy": NOISY_DEVELOPMENT_TO, "clean": CLEAN_DEVELOPMENT_TO}[kind]
    return number <= to
