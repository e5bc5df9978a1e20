"""Recordings through the live path, scored: the same monitor and alarms as at the bedside, on a recording's clock."""
