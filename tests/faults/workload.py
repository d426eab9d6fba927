"""Clients that register, log in, refresh, race with themselves, change passwords and log out, by lot.

A client owns its users, so it knows of each what it has asked for; where no answer came it goes on with all that may be so.
"""

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from tests.faults.calling import Caller, Calls, Person, Session, new_person
from tests.faults.history import Outcome, Recorder, outcome_of
from tests.faults.parts import GRACE_S

_RETRY_FOR_S: Final = 0.8 * GRACE_S
"""So long a client that has got no answer to a refresh may count on the same successor."""

_PERSONS_MAX: Final = 12
"""Of whom a client remembers the state; of the others only the history tells."""

_WITHOUT_A_KEY: Final = 0.3
_REPEATED_ANYWAY: Final = 0.15
"""Shares of the registrations and of the changes of passwords."""


def _is_unknown(status: int | None) -> bool:
    return outcome_of(status) is Outcome.UNKNOWN


class Visitor(threading.Thread):
    """One client: does one thing after the other, drawn by lot, until it is told to stop.

    Attributes:
        persons: Whom it has registered, or has tried to.
        fault: What ended it, if that was a bug of ours.
    """

    def __init__(
        self, name: str, *, recorder: Recorder, ports: Mapping[str, int], chance: random.Random, pause_s: float = 0.03
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.persons: list[Person] = []
        self._present: list[Person] = []
        self.fault: BaseException | None = None
        self._nodes = sorted(ports)
        self._chance = chance
        self._pause_s = pause_s
        self._stopping = threading.Event()
        self._first = Calls(name, recorder, Caller(ports))
        self._second = Calls(f"{name}'s other hand", recorder, Caller(ports))
        self._hand = ThreadPoolExecutor(1, thread_name_prefix=name)

    def run(self) -> None:
        """See `threading.Thread.run`."""
        acts: Sequence[tuple[int, Callable[[Person], None]]] = (
            (6, self.log_in),
            (3, self.log_in_by_an_old_password),
            (8, self.refresh),
            (4, self.refresh_twice_at_once),
            (2, self.present_an_old_token),
            (4, self.try_the_ended),
            (2, self.log_out),
            (6, self.look_at_me),
            (3, self.change_profile),
            (2, self.change_password),
            (3, self.change_password_while_logging_in),
        )
        weights = [weight for weight, _ in acts]
        try:
            while not self._stopping.is_set():
                if len(self._present) < 2 or self._chance.random() < 0.08:
                    self.register()
                    continue
                person = self._chance.choice(self._present[-_PERSONS_MAX:])
                self._chance.choices([act for _, act in acts], weights)[0](person)
                self._stopping.wait(self._pause_s * self._chance.random() * 2)
        except BaseException as fault:
            self.fault = fault
            raise
        finally:
            self._hand.shutdown()
            self._first.caller.close()
            self._second.caller.close()

    def stop(self) -> None:
        """Let `run` return after what is under way."""
        self._stopping.set()

    def _node(self) -> str:
        return self._chance.choice(self._nodes)

    def _name_kind(self, person: Person) -> str:
        return self._chance.choice(sorted(person.names))

    def register(self) -> None:
        """Register somebody, and whoever was told that all is well comes back at once, to another node."""
        person = new_person(self.name, len(self.persons), self._chance)
        key = self._key()
        status, node = None, ""
        for node in self._nodes_to_try(key):
            status = self._first.register(person, node, key)
            if not _is_unknown(status):
                break
        self._repeat(key, lambda other: self._first.register(person, other, key))
        self.persons.append(person)
        if status is None or status == 200:
            self._present.append(person)
        if status == 200:
            for other in [each for each in self._nodes if each != node] or self._nodes:
                self._take_in(person, self._first.log_in(person, other, 0, self._name_kind(person)), 0)

    def _key(self) -> str | None:
        """One that nobody else has; now and then none, as older clients have none."""
        return None if self._chance.random() < _WITHOUT_A_KEY else f"{self._chance.getrandbits(128):032x}"

    def _nodes_to_try(self, key: str | None) -> list[str]:
        """Where to ask until there is an answer: without a key nothing that may have been done is asked for again."""
        first = self._node()
        others = [each for each in self._nodes if each != first] or [first]
        return [first] if key is None else [first, *others, first]

    def _repeat(self, key: str | None, ask: Callable[[str], object]) -> None:
        """Now and then ask again for what was answered, as a client does that died before it had written that down."""
        if key is not None and self._chance.random() < _REPEATED_ANYWAY:
            ask(self._node())

    def log_in(self, person: Person) -> None:
        for label in reversed(person.possible):
            status = self._take_in(person, self._first.log_in(person, self._node(), label, self._name_kind(person)), label)
            if status != 403:
                break
        if status == 404 and person in self._present:  # a registration that was not acknowledged, and did not come
            self._present.remove(person)

    def log_in_by_an_old_password(self, person: Person) -> None:
        old = [label for label in range(person.labels) if label not in person.possible]
        if old:
            label = self._chance.choice(old)
            self._first.log_in(person, self._node(), label, self._name_kind(person))
        else:
            self.log_in(person)

    def refresh(self, person: Person) -> None:
        session = self._session(person)
        if session is None:
            return self.log_in(person)
        answer = self._first.refresh(person, self._node(), session, session.refresh_token)
        return self._go_on(person, session, answer)

    def refresh_twice_at_once(self, person: Person) -> None:
        """As two tabs do, at two nodes."""
        session = self._session(person)
        if session is None:
            return self.log_in(person)
        token = session.refresh_token
        other = self._hand.submit(self._second.refresh, person, self._nodes[0], session, token)
        answers = [self._first.refresh(person, self._nodes[-1], session, token), other.result()]
        return self._go_on(person, session, max(answers, key=lambda answer: answer[0] == 200))

    def present_an_old_token(self, person: Person) -> None:
        """Somebody has stolen it, or a device has gone back to an old state: then all of the session is to end."""
        sessions = [session for session in person.sessions if session.past]
        if not sessions:
            return self.refresh(person)
        session = self._chance.choice(sessions)
        status, _ = self._first.refresh(person, self._node(), session, self._chance.choice(session.past))
        if status == 401:  # else it was the last but one, and its successor has not been used
            self._first.refresh(person, self._node(), session, session.refresh_token)
            self._drop(person, session)
        return None

    def try_the_ended(self, person: Person) -> None:
        if not person.ended:
            return self.refresh(person)
        session = self._chance.choice(person.ended[-4:])
        self._first.me(person, self._node(), session)
        self._first.refresh(person, self._node(), session, session.refresh_token)
        return None

    def log_out(self, person: Person) -> None:
        session = self._session(person)
        if session is None:
            return self.log_in(person)
        scope = self._chance.choice(("this", "this", "others", "all"))
        status = self._first.log_out(person, self._node(), session, scope)
        for each in list(person.sessions):
            is_this = each is session
            # Who has got no answer asks again with what they have; the history knows that it may be over.
            if status in {200, 401} and ((status == 401 and is_this) or scope == "all" or (scope == "this") == is_this):
                self._drop(person, each)
        return None

    def look_at_me(self, person: Person) -> None:
        session = self._session(person)
        if session is None:
            return self.log_in(person)
        if self._first.me(person, self._node(), session) == 401:
            self.refresh(person)
        return None

    def change_profile(self, person: Person) -> None:
        session = self._session(person)
        if session is None:
            return self.log_in(person)
        self._first.change_profile(person, self._node(), session)
        return None

    def change_password(self, person: Person) -> None:
        """Whoever was told that it is changed logs in with it at once, at either node."""
        session = self._session(person)
        if session is None:
            return self.log_in(person)
        current, new, key = person.possible[-1], self._next_label(person), self._key()
        answer: tuple[int | None, Session | None] = (None, None)
        tries = 0
        for node in self._nodes_to_try(key):
            answer, tries = self._first.change_password(person, node, session, current, new, key), tries + 1
            if not _is_unknown(answer[0]):
                break
        self._repeat(key, lambda node: self._first.change_password(person, node, session, current, new, key))
        self._changed(person, current, new, answer)
        if tries > 1 and answer[1] is None and new not in person.possible:
            person.possible.append(new)  # what a try before this one asked for may still come
        if person.possible == [new]:
            self._take_in(person, self._first.log_in(person, self._node(), new, self._name_kind(person)), new)
        return None

    def change_password_while_logging_in(self, person: Person) -> None:
        """With the old password, at another node; whatever that login opens, the change must end."""
        session = self._session(person)
        if session is None:
            return self.log_in(person)
        current, new = person.possible[-1], self._next_label(person)
        changing = self._hand.submit(self._second.change_password, person, self._nodes[0], session, current, new)
        time.sleep(0.03 * self._chance.random())
        _, opened = self._first.log_in(person, self._nodes[-1], current, "username")
        answer = changing.result()
        self._changed(person, current, new, answer)
        if opened is not None:
            person.ended.append(opened)
            self._first.refresh(person, self._node(), opened, opened.refresh_token)
        return None

    def _next_label(self, person: Person) -> int:
        person.labels += 1
        return person.labels - 1

    def _changed(self, person: Person, current: int, new: int, answer: tuple[int | None, Session | None]) -> None:
        status, session = answer
        if session is not None:
            person.possible = [new]
            person.all_over()
            person.sessions.append(session)
        elif status == 403 and len(person.possible) > 1:
            person.possible.remove(current)
        elif status is None or status >= 500:
            person.possible.append(new)
        elif status == 401:
            person.all_over()

    def _take_in(self, person: Person, answer: tuple[int | None, Session | None], label: int) -> int | None:
        status, session = answer
        if session is not None:
            # What was asked for of this password without an answer may still come.
            person.possible = [*(each for each in person.possible if each > label), label]
            person.sessions = [*person.sessions, session][-4:]
        return status

    def _go_on(self, person: Person, session: Session, answer: tuple[int | None, Session | None]) -> None:
        status, successor = answer
        if successor is not None:
            session.past = [*session.past, session.refresh_token][-4:]
            session.refresh_token, session.access_token = successor.refresh_token, successor.access_token
            session.asked_at_s = None
        elif status == 401:
            self._drop(person, session)
        elif session.asked_at_s is None:
            session.asked_at_s = time.monotonic()

    def _session(self, person: Person) -> Session | None:
        """One to go on with, rather one whose refresh was not answered; those that waited too long are given up."""
        now_s = time.monotonic()
        for session in list(person.sessions):
            if session.asked_at_s is not None and now_s - session.asked_at_s > _RETRY_FOR_S:
                self._drop(person, session)
        unanswered = [session for session in person.sessions if session.asked_at_s is not None]
        return self._chance.choice(unanswered or person.sessions or [None])

    @staticmethod
    def _drop(person: Person, session: Session) -> None:
        if session in person.sessions:
            person.sessions.remove(session)
            person.ended.append(session)
