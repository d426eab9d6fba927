"""Makes a user out of what somebody typed, once for each idempotency key."""

from dataclasses import dataclass
from uuid import UUID

from tidegate.domain.idempotency import Keying, Operation
from tidegate.usecases.act_once import ActOnce
from tidegate.usecases.register import Register, Registration


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterOnce:
    """One registration that may be sent again (ADR 0019)."""

    register: Register
    act_once: ActOnce
    keying: Keying

    async def __call__(self, typed: Registration, key: str, *, address: str | None = None) -> UUID:
        """Store the user, or find that this very request has stored them, and return their id.

        Args:
            typed: The fields as they came.
            key: The client's.
            address: The client's.

        Raises:
            IdempotencyKeyReused: *key* came before with other fields, and somebody was registered.
            Refusal: As `Register`; repetitions are counted as registrations are.
            Unavailable: As `Register`.
        """
        checked = self.register.admit(typed, address=address)
        fields = [typed.username, typed.email, typed.phone_number, typed.password, typed.full_name, typed.birthdate]
        if typed.campaign:  # else as releases wrote it that knew none: a repetition may come to either
            fields.append(typed.campaign)
        request = self.keying(Operation.REGISTER, key, fields=fields)

        async def store() -> UUID:
            return await self.register.store(checked, once=request)

        return await self.act_once(request, store)
