"""What all tests share: property tests are not failed by a slow machine."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("cnnbench", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("cnnbench")
