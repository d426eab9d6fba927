"""Every use case on fakes, and what may happen while one of them waits."""

from asyncio import run
from collections.abc import Callable
from uuid import UUID

from tests.fakes.counters import InMemoryCounters
from tests.fakes.passwords import InstantPasswords
from tests.fakes.revocations import InMemoryRevocations
from tests.fakes.sessions import HandClock, InMemorySessions
from tests.fakes.tokens import FakeAccessTokens, FakeDeviceTokens, FakeIds, FakeRefreshTokens
from tests.fakes.users import InMemoryUsers
from tidegate.domain.claims import AccessClaims, TokenPair
from tidegate.domain.errors import FieldFault, InvalidRequest
from tidegate.domain.idempotency import Keying
from tidegate.domain.lanes import Lane
from tidegate.domain.throttling import CounterKind, Limit
from tidegate.domain.users import IdentifierKind, LoginIdentifier, NewUser
from tidegate.ports.users import NearbyUsers
from tidegate.throttle.throttle import CountingThrottle
from tidegate.usecases.act_once import ActOnce
from tidegate.usecases.authenticate import Authenticate
from tidegate.usecases.change_password import ChangePassword
from tidegate.usecases.change_password_once import ChangePasswordOnce
from tidegate.usecases.log_in import LoggedIn, LogIn, Origin
from tidegate.usecases.password_rules import PasswordRules
from tidegate.usecases.refresh import Refresh, Refreshed
from tidegate.usecases.register import Register
from tidegate.usecases.register_once import RegisterOnce

PASSWORD = "correct horse"
PHONE = Origin("A phone", "192.0.2.7")
LIMITS = {
    CounterKind.USER: Limit(at_most=12, window_s=86_400),
    CounterKind.PAIR: Limit(at_most=3, window_s=900),
    CounterKind.DEVICE: Limit(at_most=2, window_s=900),
    CounterKind.ADDRESS: Limit(at_most=8, window_s=600),
    CounterKind.REGISTRATION: Limit(at_most=4, window_s=600),
}


class ListedPasswords:
    """Implements `ports.passwords.Blocklist`: knows one password."""

    def holds(self, password: str) -> bool:
        return password.casefold() == "password123"


class EventfulPasswords(InstantPasswords):
    """Lets one thing happen at the end of each comparison, as a hash takes long enough for it."""

    def __init__(self, *meanwhile: Callable[[], object], is_busy: bool = False) -> None:
        super().__init__(is_busy=is_busy)
        self._meanwhile = list(meanwhile)

    async def matches(self, password: str, password_hash: str, *, user_id: UUID, lane: Lane) -> bool:
        matched = await super().matches(password, password_hash, user_id=user_id, lane=lane)
        if self._meanwhile:
            self._meanwhile.pop(0)()
        return matched


def normalise(kind: IdentifierKind, typed: str) -> LoginIdentifier:
    """Lower case; a space is what makes a name invalid."""
    if " " in typed:
        raise InvalidRequest(FieldFault(kind.value, "invalid"))
    return LoginIdentifier(kind, typed.lower())


def username(name: str) -> LoginIdentifier:
    """The login identifier of whoever has the username *name*."""
    return LoginIdentifier(IdentifierKind.USERNAME, name)


def new_user(user_id: UUID, name: str, stored: str) -> NewUser:
    """A registration that may stand, with an email address too."""
    return NewUser(
        user_id=user_id,
        username=name,
        email=f"{name}@example.org",
        phone_number=None,
        password_hash=stored,
        full_name=None,
        birth_date=None,
    )


class World:
    """Fakes of all ports, and the use cases on them."""

    def __init__(
        self,
        passwords: InstantPasswords | None = None,
        *,
        nearby: NearbyUsers | None = None,
        is_uniform: bool = False,
    ) -> None:
        self.clock = HandClock()
        self.users = InMemoryUsers()
        self.sessions = InMemorySessions(self.users, clock=self.clock)
        self.revocations = InMemoryRevocations(self.sessions)
        self.passwords = passwords or InstantPasswords()
        self.access_tokens = FakeAccessTokens()
        self.refresh_tokens = FakeRefreshTokens()
        self.rules = PasswordRules(blocklist=ListedPasswords())
        self.ids = FakeIds()
        self.devices = FakeDeviceTokens()
        self.counters = InMemoryCounters()
        self.refused: list[CounterKind] = []
        self.throttle = CountingThrottle(
            limits=LIMITS,
            shared=self.counters,
            now=lambda: self.clock.now().timestamp(),
            tallies_max=1_000,
            on_refused=self.refused.append,
        )
        self.log_in = LogIn(
            nearby=nearby or self.users,
            users=self.users,
            credentials=self.users,
            passwords=self.passwords,
            sessions=self.sessions,
            access_tokens=self.access_tokens,
            refresh_tokens=self.refresh_tokens,
            devices=self.devices,
            throttle=self.throttle,
            ids=self.ids,
            is_uniform=is_uniform,
            name_digest=lambda identifier: f"digest of {identifier.value}".encode(),
        )
        self.register = Register(
            normalise=normalise,
            rules=self.rules,
            readers=self.users,
            writers=self.users,
            passwords=self.passwords,
            throttle=self.throttle,
            ids=self.ids,
            clock=self.clock,
        )
        self.change_password = ChangePassword(
            users=self.users,
            profiles=self.users,
            rules=self.rules,
            passwords=self.passwords,
            sessions=self.sessions,
            access_tokens=self.access_tokens,
            refresh_tokens=self.refresh_tokens,
            throttle=self.throttle,
            ids=self.ids,
        )
        self.keys = self.users.keys
        self.act_once = ActOnce(keys=self.keys, throttle=self.throttle)
        keying = Keying(mac_of_key=lambda text: b"key:" + text, mac_of_request=lambda text: b"request:" + text)
        self.register_once = RegisterOnce(register=self.register, act_once=self.act_once, keying=keying)
        self.authenticate = Authenticate(access_tokens=self.access_tokens, revocations=self.revocations)
        self.change_password_once = ChangePasswordOnce(
            authenticate=self.authenticate,
            change_password=self.change_password,
            sessions=self.sessions,
            act_once=self.act_once,
            keying=keying,
        )
        self.refresh = Refresh(sessions=self.sessions, access_tokens=self.access_tokens, refresh_tokens=self.refresh_tokens)

    def add_user(self, name: str = "ada", *, stored: str = InstantPasswords.current(PASSWORD)) -> UUID:
        """A user whose stored password is *stored*."""
        user_id = self.ids.user_id()
        run(self.users.add(new_user(user_id, name, stored)))
        return user_id

    def logged_in(self, name: str = "ada", password: str = PASSWORD, *, origin: Origin = PHONE) -> LoggedIn:
        """Log *name* in."""
        return run(self.log_in(username(name), password, origin))

    def refreshed(self, pair: TokenPair) -> Refreshed:
        """Refresh with the refresh token of *pair*."""
        return run(self.refresh(pair.refresh_token))

    def claims(self, pair: TokenPair) -> AccessClaims:
        """What the access token of *pair* says."""
        return self.access_tokens.verify(pair.access_token)

    def is_live(self, pair: TokenPair) -> bool:
        """Whether the session of *pair* is live."""
        return run(self.sessions.is_live(self.claims(pair).session_id))

    def store(self, user_id: UUID, stored: str) -> Callable[[], None]:
        """What puts *stored* in the place of the stored password, as somebody else might meanwhile."""

        def replace() -> None:
            old = self.users.stored_password(user_id)
            assert old is not None
            assert self.users.replace_password(user_id, old=old, new=stored)

        return replace
