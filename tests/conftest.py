"""What all tests share: properties are not judged by how busy the machine is."""

from hypothesis import HealthCheck, settings

settings.register_profile("farthing", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("farthing")
