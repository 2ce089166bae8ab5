"""What holds for every test."""

import os

from hypothesis import HealthCheck, settings

# A busy machine makes an example slow, not wrong. Under CI hypothesis has a profile of its own,
# which says the same and draws the same examples every time.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
if not os.environ.get("CI"):
    settings.load_profile("patient")
