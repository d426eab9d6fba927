"""Respells the password hashes that Keycloak exports as JSON into lines that our column holds and `parse` reads."""

import binascii
from typing import Final

import msgspec

from tidegate.passwords.notations import parse
from tidegate.passwords.notations.pbkdf2 import KEYCLOAK_DIGESTS

_ARGON2_VERSIONS: Final = {"1.0": 16, "1.3": 19}
_ARGON2_TYPES: Final = frozenset({"d", "i", "id"})


class _CredentialData(msgspec.Struct, rename="camel"):
    """Keycloak's column `credential_data` (PasswordCredentialData)."""

    hash_iterations: int
    algorithm: str
    additional_parameters: dict[str, list[str]] | None = None


class _SecretData(msgspec.Struct):
    """Keycloak's column `secret_data` (PasswordSecretData); both values in Base64."""

    value: str
    salt: str


def from_keycloak(credential_data: str, secret_data: str) -> str:
    """Return the stored form of one of Keycloak's password credentials.

    PBKDF2 becomes `keycloak$<algorithm>$<iterations>$<salt>$<digest>`, with Keycloak's name of the algorithm and its
    Base64; Argon2 becomes the PHC string that it amounts to.

    Args:
        credential_data: JSON, such as `{"hashIterations":210000,"algorithm":"pbkdf2-sha512"}`.
        secret_data: JSON, such as `{"value":"<Base64>","salt":"<Base64>"}`.

    Raises:
        ValueError: It is not that, or the algorithm or its cost is one that we do not verify. The text holds no secret.
    """
    try:
        data = msgspec.json.decode(credential_data, type=_CredentialData)
        secret = msgspec.json.decode(secret_data, type=_SecretData)
        if data.algorithm in KEYCLOAK_DIGESTS:
            stored = f"keycloak${data.algorithm}${data.hash_iterations}${secret.salt}${secret.value}"
        elif data.algorithm == "argon2":
            stored = _phc_string(data, secret)
        else:
            raise ValueError("unknown algorithm")
    except (msgspec.MsgspecError, LookupError, ValueError, RecursionError):
        raise ValueError("not a password credential of Keycloak's that we know") from None
    if parse(stored) is None:
        raise ValueError("a password credential of Keycloak's that is malformed, too long or too dear to verify")
    return stored


def _phc_string(data: _CredentialData, secret: _SecretData) -> str:
    """Spell Keycloak's Argon2 as a PHC string.

    Raises:
        LookupError: A parameter is missing or unknown.
        ValueError: A value is not in Base64.
    """
    parameters = {name: values[0] for name, values in (data.additional_parameters or {}).items()}
    if parameters["type"] not in _ARGON2_TYPES:
        raise LookupError("unknown type of Argon2")
    version = _ARGON2_VERSIONS[parameters["version"]]
    cost = f"m={parameters['memory']},t={data.hash_iterations},p={parameters['parallelism']}"
    salt, digest = (
        binascii.b2a_base64(binascii.a2b_base64(text, strict_mode=True), newline=False).decode("ascii").rstrip("=")
        for text in (secret.salt, secret.value)
    )
    return f"$argon2{parameters['type']}$v={version}${cost}${salt}${digest}"
