"""What an operator does to a user: each ends what the user's sessions allow, at once (promise P3)."""

from uuid import UUID

from tidegate.domain.users import DISABLED_MARK
from tidegate.storage.pools import PrimaryPool


class UserAdministration:
    """Disables, enables and deletes users on the primary."""

    def __init__(self, pool: PrimaryPool) -> None:
        self._pool = pool

    async def disable(self, user_id: UUID) -> bool:
        """Let *user_id* log in no more, and revoke every session; the password is kept behind a mark.

        Returns:
            False if there is no such user, or one who is disabled already.
        """
        async with self._pool.transaction() as work:
            await work.fetchrow("lock_user", user_id)
            disabled = await work.fetchrow("disable_user", user_id, DISABLED_MARK)
            await work.fetch("revoke_sessions_of_user", user_id, None)
        return disabled is not None

    async def enable(self, user_id: UUID) -> bool:
        """Let *user_id* log in again with the old password.

        Returns:
            False if there is no such user, or one who is not disabled.
        """
        return await self._pool.fetchrow("enable_user", user_id, DISABLED_MARK) is not None

    async def delete(self, user_id: UUID) -> bool:
        """Delete *user_id*, and revoke every session first; revoked sessions stay, without a user, until clean-up.

        Returns:
            False if there is no such user.
        """
        async with self._pool.transaction() as work:
            if await work.fetchrow("lock_user", user_id) is None:
                return False
            await work.fetch("revoke_sessions_of_user", user_id, None)
            await work.fetchrow("delete_user", user_id)
        return True
