"""The one place where the driver's exceptions become ours.

What PostgreSQL tells of an error may hold what was to be stored ("Failing row contains ...", "Key (email)=(...)"), the
password hash with it. So nothing of its text is passed on for a failed statement, neither in our text nor as the cause.
"""

from typing import Final

import asyncpg

from tidegate.domain.errors import DatabaseUnavailable

RETRY_AFTER_S: Final = 1.0
"""A primary that was killed is back within about a second (EMBEDDED.md section 2: recovery 0.4 s, promotion 0.2 s)."""

_NOT_NOW: Final = (
    asyncpg.PostgresConnectionError,  # class 08
    asyncpg.InvalidAuthorizationSpecificationError,  # class 28: while connecting
    asyncpg.InvalidCatalogNameError,  # 3D000: while connecting
    asyncpg.TransactionRollbackError,  # class 40: deadlock, serialisation
    asyncpg.TransactionTimeoutError,  # 25P04: we were stopped in the middle of one, or each of its statements was slow
    asyncpg.ReadOnlySQLTransactionError,  # 25006: this primary has been demoted
    asyncpg.IdleInTransactionSessionTimeoutError,  # 25P03: we were stopped in the middle of one
    asyncpg.InsufficientResourcesError,  # class 53: too many connections, disk full
    asyncpg.LockNotAvailableError,  # 55P03
    asyncpg.OperatorInterventionError,  # class 57: shutdown, starting up, statement_timeout
    asyncpg.PostgresSystemError,  # class 58: input/output error
    asyncpg.InvalidCachedStatementError,  # the schema changed in the middle of a transaction
    asyncpg.InternalClientError,  # the driver lost the thread
    OSError,
    TimeoutError,
)

_HARMLESS: Final = (
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.DataError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.TransactionRollbackError,
)
"""What the server reports of one statement, and what leaves the connection as good as before."""


class UniqueViolated(Exception):  # noqa: N818 - the database's decision, not an error
    """Another row holds the value already.

    Attributes:
        constraint: The name of the constraint that says so.
    """

    def __init__(self, constraint: str) -> None:
        super().__init__(constraint)
        self.constraint = constraint


class ReplicaBehind(Exception):  # noqa: N818 - it is right, but not yet
    """A replica has not replayed what the caller must have seen; the primary has."""


class StatementFailed(Exception):  # noqa: N818 - the statement did
    """A bug: PostgreSQL or the driver refuses a statement of ours as it is.

    The text holds the statement's name, the SQLSTATE and what it concerns, never a value.
    """


def is_harmless(error: Exception) -> bool:
    """Whether the connection on which *error* came is as good as before."""
    return isinstance(error, _HARMLESS)


def is_passing(error: BaseException) -> bool:
    """Whether *error* says that the database cannot now, but may again."""
    return isinstance(error, _NOT_NOW)


def failure(error: Exception, statement: str) -> Exception:
    """Return what to raise, from None, for *error*, which is not `is_passing`.

    Args:
        error: What the driver raised.
        statement: The statement's name.
    """
    if isinstance(error, asyncpg.UniqueViolationError):
        return UniqueViolated(error.constraint_name or "")
    if isinstance(error, asyncpg.PostgresError):
        about = " ".join(filter(None, (error.table_name, error.column_name, error.constraint_name)))
        return StatementFailed(f"{statement}: {error.sqlstate} {type(error).__name__} {about}".rstrip())
    if isinstance(error, asyncpg.InterfaceError):
        return StatementFailed(f"{statement}: {type(error).__name__} of the driver")
    return error


def unavailable() -> DatabaseUnavailable:
    """Return the error for a database that cannot now."""
    return DatabaseUnavailable(retry_after_s=RETRY_AFTER_S)
