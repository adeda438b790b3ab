"""The same few examples on every machine: what fails here fails everywhere, and no example has to be fast."""

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "hostile",
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    # No smaller example is looked for: on a slow machine that takes longer than all tests.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("hostile")
