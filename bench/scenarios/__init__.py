"""The questions that a run asks, in the order of their asking."""

from collections.abc import Sequence

from bench.peers import better_auth, django_simplejwt, fastapi_users, go_seed
from bench.scenarios.compared import Compared
from bench.scenarios.existence import Existence
from bench.scenarios.logins import Logins
from bench.scenarios.mixed import Mixed
from bench.scenarios.scenario import Scenario
from bench.scenarios.storm import Storm


def scenarios(*, storm_s: float) -> Sequence[Scenario]:
    """Return all.

    Args:
        storm_s: How long the storm lasts.
    """
    go, rotating, better = go_seed.NAME, go_seed.NAME_ROTATING, better_auth.NAME
    others = {fastapi_users.NAME: None, django_simplejwt.NAME: None}
    return [
        Logins(connections=64, bounds={go: 2.0, better: 1.3, **others}),
        Logins(connections=512, has_memory=True),
        Logins(connections=2_000),
        Compared(name="register", title="registrations/s", call="register", bounds={go: 1.8, better: None}),
        Compared(name="me", title="GET /me, a second", call="me", bounds={go: 1.5, better: None}),
        Compared(name="refresh", title="POST /refresh, a second", call="refresh", bounds={rotating: 1.5, go: 0.9}),
        Compared(name="unknown", title="logins of nobody, a second", call="unknown", bounds={go: 0.5}),
        Mixed(),
        Storm(seconds=storm_s),
        Existence(),
    ]
