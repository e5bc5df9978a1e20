"""Settings for all tests: a slow or busy machine is no failure, so no example has a deadline."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile("bedside", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("bedside"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "bedside")
