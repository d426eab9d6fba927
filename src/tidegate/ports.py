"""What the use cases need from outside, in the words of the domain. Each promise beside the method that makes it."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from types import TracebackType
from typing import NamedTuple, Protocol, Self
from uuid import UUID

from tidegate.domain.claims import AccessClaims, DeviceGrant, RefreshGrant
from tidegate.domain.idempotency import KeyedRequest
from tidegate.domain.jobs import Addressee, Claimed, Depth, Job, JobKind
from tidegate.domain.lanes import Lane
from tidegate.domain.sessions import NewSession, Rotation, SessionView
from tidegate.domain.throttling import Counter
from tidegate.domain.users import LoginIdentifier, NewUser, Profile, ProfileChange, StoredCredentials


class UserFinder(Protocol):
    """Finds users by name."""

    async def find(self, identifier: LoginIdentifier) -> StoredCredentials | None:
        """The credentials of whoever has *identifier*, or None: nobody is not an error."""


class UserReader(UserFinder, Protocol):
    """Finds users. Every answer is as fresh as if the primary had been asked."""

    async def credentials(self, user_id: UUID) -> StoredCredentials | None:
        """The credentials of *user_id*, or None."""


class NearbyUsers(Protocol):
    """Finds users wherever reading is cheapest. Another type than `UserFinder`, for an answer may lag the primary."""

    async def find_nearby(self, identifier: LoginIdentifier) -> StoredCredentials | None:
        """The credentials of whoever has, or a moment ago had, *identifier*; None: nobody has it, and that does not lag.

        Where they `may_lag`, nobody may be refused for them before a `UserReader` has confirmed them; that they suffice,
        the session's own write confirms (promises P2, P3, P9).
        """


class UserWriter(Protocol):
    """Changes users on the primary."""

    async def add(self, user: NewUser, *, once: KeyedRequest | None = None) -> None:
        """Store *user*; when this returns, the user can log in and survives a crash (promise P1).

        Args:
            user: With an id that nobody has.
            once: The request that asks for it, if it has an idempotency key: user and key are stored, or neither.

        Raises:
            IdempotencyKeyTaken: A request with the key of *once* took effect before; *user* was not stored.
            IdentifierTaken: The database holds one of the identifiers already, however many tried at once.
        """

    async def rehash(self, user_id: UUID, *, old: str, new: str) -> bool:
        """Replace the stored password *old* by *new*, a hash of the same password; False if *old* is no longer current."""


class Profiles(Protocol):
    """What users may see and change of themselves.

    A profile that was changed here, and the change acknowledged, is told no more as it was before, by no process of the
    node; other nodes follow within 1 s. `last_login` may be some seconds late.
    """

    async def profile(self, user_id: UUID) -> Profile | None:
        """What *user_id* may see of themselves, or None."""

    async def change_profile(self, user_id: UUID, change: ProfileChange) -> Profile | None:
        """Apply *change* and return the profile as it is then; None if there is no such user."""


class ExistenceFilter(Protocol):
    """Knows of most names that nobody has them, without asking anybody (DESIGN 5.2, ADR 0014)."""

    def might_contain(self, identifier: LoginIdentifier) -> bool:
        """False: this node has not heard of anybody who has *identifier*; others may have. True is a guess.

        While the filter is not loaded, everything might be in it.
        """

    def lacks(self, identifier: LoginIdentifier) -> bool:
        """Whether it is proven that nobody has *identifier* at this moment; False says nothing."""

    def add(self, identifiers: Sequence[LoginIdentifier]) -> int | None:
        """Note *identifiers*, whose user is about to be added: from now on the filter might contain them, in every process.

        Returns:
            The note that the database is to be given with the user; None: the filter is held by another process at this
            moment, and nothing was noted.
        """


class Sessions(Protocol):
    """The sessions of all users, on the primary. Its clock is the only one that expires anything."""

    async def open(self, session: NewSession, *, relied_on: str) -> bool:
        """Open *session* and put the job `LOGIN_SUCCEEDED`, both or neither.

        Args:
            session: Of generation 0.
            relied_on: The stored password that the caller verified against.

        Returns:
            False, and nothing is written, if the user's stored password is not *relied_on* any more: changed, disabled or
            deleted meanwhile (promise P3). A change that commits later revokes the session that this opened.
        """

    async def rotate(self, grant: RefreshGrant) -> Rotation:
        """Replace the refresh token of *grant* by its successor, once (promises P5, P6, P7); see `Fate`."""

    async def is_live(self, session_id: UUID) -> bool:
        """Whether the session exists, its user too, and it is neither revoked nor expired."""

    async def of_user(self, user_id: UUID) -> list[SessionView]:
        """The live sessions of *user_id*, the latest used first, at most 100."""

    async def revoke(self, session_id: UUID, *, user_id: UUID | None = None) -> bool:
        """Revoke one session, of *user_id* only when that is given; False if there was no such live session."""

    async def revoke_all(self, user_id: UUID, *, but: UUID | None = None) -> int:
        """Revoke every live session of *user_id*, except *but*; how many there were."""

    async def change_password(self, new: NewSession, *, old: str, stored: str, once: KeyedRequest | None = None) -> bool:
        """Store *stored* as the password, revoke every session of the user and open *new*, all or nothing.

        Args:
            new: The session that the change continues in; its user is the one whose password changes.
            old: The stored password that the caller verified against.
            stored: The new password's hash.
            once: The request that asks for it, if it has an idempotency key: the key is stored with the change.

        Returns:
            False, and nothing is written, if *old* is not the stored password any more.

        Raises:
            IdempotencyKeyTaken: A request with the key of *once* took effect before; nothing was written.
        """


class IdempotencyKeys(Protocol):
    """Knows which requests took effect under an idempotency key within the last `KEPT_S`, as fresh as the primary.

    It takes no key: whoever stores the effect does, in the same transaction (`once` of `UserWriter.add`).
    """

    async def made_by(self, request: KeyedRequest) -> UUID | None:
        """The id of what *request* made when it took effect; None: no request with its key did.

        Raises:
            IdempotencyKeyReused: Another request took effect under its key.
        """


class IdempotencyKeyRemoval(Protocol):
    """Removes the keys that mean nothing any more."""

    async def remove_expired(self, *, at_most: int) -> int:
        """Remove expired keys and return how many; fewer than *at_most* means that there are no more."""


class Revocations(Protocol):
    """Tells whether a session has been revoked, without asking the database for each request."""

    async def is_revoked(self, session_id: UUID, *, lives_s: float) -> bool:
        """Whether an access token of *session_id* must be refused; true within 1 s of the revocation (DESIGN 5.4).

        A process that has lost the feed of revocations asks the primary instead.

        Args:
            session_id: As the token says.
            lives_s: How long the token is valid, from its issue to its expiry: longer than a revocation is remembered, if
                another node, or this one before it was started anew, has issued it with another setting.

        Raises:
            DatabaseUnavailable: The feed is lost and the primary does not answer.
        """


class Client(Protocol):
    """Who asked for what is being done, as far as its connection tells.

    Attributes:
        has_gone: It will hear no answer.
        may_have_gone: It will ask nothing more, and may have gone.
        on_leaving: Called when one of these becomes true, if it is set; for one who waits at a time.
    """

    has_gone: bool
    may_have_gone: bool
    on_leaving: Callable[[], None] | None


class Passwords(Protocol):
    """Hashes and compares passwords off the event loop, on no more threads than the node has cores."""

    async def matches(self, password: str, password_hash: str, *, user_id: UUID, lane: Lane) -> bool:
        """Whether *password*, normalised, is the one behind *password_hash*, in any accepted notation.

        A hash in a notation or with a cost that is not accepted matches nothing, and costs nothing. Equal tries of one user
        at one time are computed once.

        Raises:
            HashPoolSaturated: It could not start in time, or whoever asked has gone. Raised at once when that can be
                foretold.
        """

    def refuse_if_full(self, lane: Lane, *, besides: int = 0) -> None:
        """Whoever would be refused in *lane* hears it now, before anything else is done for them (DESIGN 5.9).

        Args:
            lane: Whose places are meant.
            besides: How many have been refused for the same reason without being asked about, since the last who was.

        Raises:
            HashPoolSaturated: As `matches` would now.
        """

    async def hash(self, password: str, *, lane: Lane) -> str:
        """A PHC string of *password* under the current profile.

        Raises:
            HashPoolSaturated: As `matches`. In the lane of rehashes: unless it starts at once.
        """

    def is_outdated(self, password_hash: str) -> bool:
        """Whether *password_hash* is not of the current profile."""

    def is_idle(self) -> bool:
        """Whether a thread is free, so that a hash that can wait for another day costs nobody a place."""

    async def imitate(self, *, lane: Lane) -> None:
        """Take as long as `matches` takes now, on a timer, not on a core; refuse when it would (DESIGN 2, hardened).

        Raises:
            HashPoolSaturated: As `matches`.
        """


class Blocklist(Protocol):
    """Passwords that nobody may choose (NIST SP 800-63B section 5.1.1.2, ASVS v5.0.0-6.2.4)."""

    def holds(self, password: str) -> bool:
        """Whether *password* is among the common ones, in whatever case."""


class AccessTokens(Protocol):
    """Makes and verifies access tokens (RFC 9068)."""

    def issue(self, user_id: UUID, session_id: UUID) -> str:
        """A token signed by the key that is current now."""

    def verify(self, token: str) -> AccessClaims:
        """The claims of *token*. Says nothing of revocation.

        Raises:
            InvalidAccessToken: Whatever is wrong with it.
        """


class RefreshTokens(Protocol):
    """Makes and reads refresh tokens: a session and a generation under a MAC, nothing to look up (DESIGN 5.4)."""

    def make(self, session_id: UUID, generation: int) -> str:
        """The one token of this session and generation: the same arguments always give the same string."""

    def read(self, token: str) -> RefreshGrant:
        """What *token* names.

        Raises:
            InvalidRefreshToken: Not made by us.
        """


class DeviceTokens(Protocol):
    """Makes and reads device tokens: that a user has logged in from this device before."""

    def read(self, token: str) -> DeviceGrant | None:
        """What *token* says, or None if it is not ours or has expired; a wrong one is as good as none."""

    def renewed(self, user_id: UUID, known: DeviceGrant | None) -> str | None:
        """The token for a device that *user_id* has just logged in from, or None if what it has, *known*, will do."""


class Attempt(Protocol):
    """One attempt under way: it holds a place in each of its counters until the end of the block.

    An attempt that ends without a word counts nothing: the password was right, or nobody came to compare it.
    """

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Free the places."""

    async def fail(self) -> None:
        """Count it as failed, in every counter; once this returns every node knows, if the nodes can talk now."""

    def succeed(self) -> None:
        """Forget what the counters hold that belong to this caller alone: the pair of user and address, the device."""


class Throttle(Protocol):
    """Counts failures, and makes whoever has failed too often wait. It never says more than "too many"."""

    async def admit(self, counters: Sequence[Counter]) -> Attempt:
        """Let one attempt begin that may fail, as soon as no counter would exceed its limit if all under way failed.

        Raises:
            TooManyAttempts: A counter is at its limit.
        """

    def check(self, counters: Sequence[Counter]) -> None:
        """See whether a counter is at its limit, as far as this process knows; asks nobody and waits for nothing.

        Raises:
            TooManyAttempts: One is.
        """

    def count(self, counters: Sequence[Counter]) -> None:
        """Add one to each counter; other processes hear of it a moment later. Asks nobody and waits for nothing.

        Raises:
            TooManyAttempts: One is at its limit, and none was counted.
        """


class Increment(NamedTuple):
    """So many more in a bucket, which is forgotten *lives_s* after the last."""

    bucket: bytes
    by: int
    lives_s: int


class SharedCounters(Protocol):
    """Numbers that all nodes share. They may be away, late or emptied at any moment, and then nothing is raised.

    A bucket is what one counter holds of one window; its name is of any bytes.
    """

    @property
    def is_up(self) -> bool:
        """Whether asking makes sense now."""

    async def read(self, buckets: Sequence[bytes]) -> Sequence[int] | None:
        """What is in each bucket, 0 where nothing is; None: they are away."""

    async def add(self, increments: Sequence[Increment]) -> Sequence[int] | None:
        """Add, all or as far as it gets; what is in each bucket then, or None: they are away."""

    def clear(self, buckets: Sequence[bytes]) -> None:
        """Empty the buckets, soon."""


class Clock(Protocol):
    """The time of this node; it never decides what has expired in the database."""

    def now(self) -> datetime:
        """Now, aware, UTC."""


class Ids(Protocol):
    """Makes ids, so that tests can foretell them."""

    def user_id(self) -> UUID:
        """Random (UUIDv4): it is told to other services and must not tell when its user registered."""

    def session_id(self) -> UUID:
        """Ordered by time (UUIDv7, RFC 9562), so that the index of sessions grows at one end."""


class JobBatch(Protocol):
    """Jobs that one worker holds in one transaction: that they are done and what that changes become true together."""

    jobs: Sequence[Job]

    apart: Sequence[Job]
    """Those that were found beside them and are not part of this: somebody ended in the middle of trying them, so each is
    to be tried alone (`Jobs.take_alone`)."""

    kept: AbstractSet[int]
    """Those that `keep` was told of."""

    def keep(self, jobs: Sequence[Job]) -> None:
        """Let *jobs* wait on instead: they cannot be done at this moment, by nobody's fault."""

    async def record_last_logins(self, latest: Mapping[UUID, datetime]) -> AbstractSet[UUID]:
        """Set when each user last logged in, aware times; never back to an earlier time. Who is gone is passed over.

        Returns:
            Users whose row somebody else holds; nothing is written for them, and nobody waits.
        """

    async def record_audit(self, jobs: Sequence[Job]) -> None:
        """Write down what *jobs* tell, for good."""

    async def put(self, kind: JobKind, users: Sequence[UUID]) -> None:
        """Put a job of *kind* for each of *users*."""

    async def addressees(self, users: Sequence[UUID]) -> Mapping[UUID, Addressee]:
        """How to reach *users*; who is gone is not among them."""


class Jobs(Protocol):
    """The jobs that are waiting, on the primary. Kinds that this release does not know are left to a newer one."""

    def take(self, kinds: Sequence[JobKind], *, at_most: int) -> AbstractAsyncContextManager[JobBatch]:
        """Hold jobs of *kinds* that are due and that nobody else holds: those that failed first, then the oldest.

        At the end of the block they are done; when it raises they wait on. If it raises `Unavailable`, or does not end at
        all, one of them may be the cause: whoever takes them next finds them `apart`.

        Args:
            kinds: Of `NOTICES` or of `RECORDED`, never of both.
            at_most: How many, those `apart` included.
        """

    def take_named(self, kinds: Sequence[JobKind], jobs: Sequence[int]) -> AbstractAsyncContextManager[JobBatch]:
        """Hold those of *jobs* that wait and that nobody else holds; as `take`. Never waits for who holds them."""

    def take_alone(self, job: Job, *, again_after_s: float) -> AbstractAsyncContextManager[JobBatch]:
        """Hold *job*, which was `apart`, and count it as tried before the block begins: it may not live to count it.

        The batch is empty if somebody else holds it, tries it or has done it. A job that is kept was not tried.

        Args:
            job: As it was found; counted only if nobody has since.
            again_after_s: When it is due again if the block never ends.
        """

    async def unfinished(self, jobs: Sequence[int]) -> frozenset[int]:
        """Which of *jobs* are not done yet, by whomever."""

    async def claim(self, kinds: Sequence[JobKind], *, at_most: int, again_after_s: float) -> list[Claimed]:
        """Take the oldest jobs of *kinds* that are due to be published; unless done, they are due again after a while.

        Each is claimed by one caller only, however many ask, and none is passed over for good, in whatever order the
        transactions that put them are committed.
        """

    async def put_off(self, job: int, *, tries: int, error: str, again_after_s: float) -> None:
        """Note that *job* failed for the *tries*th time, with an error of the class *error*; it is due *again_after_s*."""

    async def bury(self, job: int, *, tries: int, error: str) -> None:
        """Note that *job* failed once too often: it waits for a person, and holds up nobody."""

    async def depth(self) -> Depth:
        """How many wait, counted as far as it is worth."""


class Carrier(Protocol):
    """Carries the ids of jobs to whichever worker is free. It may lose, double and reorder them, or be away."""

    @property
    def is_up(self) -> bool:
        """Whether asking makes sense now."""

    async def publish(self, claimed: Sequence[Claimed]) -> bool:
        """Hand over *claimed*; False: they, or some of them, may be lost."""

    async def backlog(self) -> int | None:
        """How many are handed over and not done; None: they are away."""

    async def pull(self, *, at_most: int, wait_s: float) -> Sequence[int] | None:
        """Take the ids of jobs, in any order, perhaps more than once; none: nothing came in time. None: they are away."""

    async def settle(self, jobs: Sequence[int]) -> None:
        """Say that what was pulled for *jobs* need not be delivered again."""

    async def put_back(self, jobs: Sequence[int], *, delay_s: float) -> None:
        """Let *jobs* be delivered again after *delay_s*."""


class WelcomeSender(Protocol):
    """Greets who has registered."""

    async def welcome(self, job: int, addressee: Addressee) -> None:
        """Send one greeting. The same *job* may come twice, for nobody can send and write down that it was sent at once.

        Raises:
            NoticeUndelivered: It was not sent; it may be tried again.
        """


class AuditRemoval(Protocol):
    """Removes the records that are older than anybody keeps them."""

    async def remove_old_audit(self, *, older_than_s: float, at_most: int) -> int:
        """Look at the *at_most* oldest records, remove those older than *older_than_s*, and return how many those were."""


class SessionRemoval(Protocol):
    """Removes the sessions that nobody asks for any more."""

    async def remove_dead(self, *, dead_for_s: float, at_most: int) -> int:
        """Look at sessions that should be dead for *dead_for_s*, remove those that are, and return how many were looked at.

        Args:
            dead_for_s: At least as long as an access token may outlive its session: revocations are read from the rows.
            at_most: How many to look at; fewer in the answer means that there are no more.
        """
