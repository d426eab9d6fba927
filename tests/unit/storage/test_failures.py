"""What the driver raises becomes ours: passing or a bug, and never with a value in it."""

import asyncpg
import pytest

from tidegate.storage.failures import StatementFailed, UniqueViolated, failure, is_harmless, is_passing


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.ConnectionDoesNotExistError("x"),
        asyncpg.CannotConnectNowError("starting up"),
        asyncpg.AdminShutdownError("x"),
        asyncpg.QueryCanceledError("statement timeout"),
        asyncpg.TooManyConnectionsError("x"),
        asyncpg.DiskFullError("x"),
        asyncpg.DeadlockDetectedError("x"),
        asyncpg.ReadOnlySQLTransactionError("x"),
        asyncpg.IdleInTransactionSessionTimeoutError("x"),
        asyncpg.TransactionTimeoutError("x"),
        asyncpg.InvalidPasswordError("x"),
        asyncpg.InvalidCatalogNameError("x"),
        asyncpg.TargetServerAttributeNotMatched("x"),
        ConnectionRefusedError(),
        FileNotFoundError(),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_may_pass_is_told_as_unavailable(error: Exception) -> None:
    assert is_passing(error)


@pytest.mark.parametrize(
    "error",
    [asyncpg.UndefinedColumnError("x"), asyncpg.CheckViolationError("x"), asyncpg.InterfaceError("x"), KeyError("x")],
    ids=lambda error: type(error).__name__,
)
def test_a_bug_does_not_pass(error: Exception) -> None:
    assert not is_passing(error)


def test_a_connection_is_used_again_only_after_what_concerns_one_statement() -> None:
    assert is_harmless(asyncpg.UniqueViolationError("x"))
    assert is_harmless(asyncpg.QueryCanceledError("statement timeout"))
    for error in (TimeoutError(), OSError(), asyncpg.AdminShutdownError("x"), asyncpg.ReadOnlySQLTransactionError("x")):
        assert not is_harmless(error)


def test_the_text_of_a_failure_names_places_and_no_values() -> None:
    error = asyncpg.NotNullViolationError('null value in column "password"')
    error.__dict__.update(detail="Failing row contains (secret).", table_name="users", column_name="password")
    failed = failure(error, "add_user")
    assert isinstance(failed, StatementFailed)
    assert str(failed) == "add_user: 23502 NotNullViolationError users password"


def test_the_drivers_own_refusal_of_a_value_does_not_show_it() -> None:
    failed = failure(asyncpg.InterfaceError("invalid input for query argument $1: 'secret'"), "add_user")
    assert str(failed) == "add_user: InterfaceError of the driver"


def test_a_taken_value_is_told_by_its_constraint() -> None:
    error = asyncpg.UniqueViolationError("x")
    error.__dict__.update(constraint_name="users_email_unique", detail="Key (email)=(secret) already exists.")
    violated = failure(error, "add_user")
    assert isinstance(violated, UniqueViolated)
    assert (violated.constraint, str(violated)) == ("users_email_unique", "users_email_unique")
