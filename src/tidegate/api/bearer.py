"""Who is asking, for the endpoints that want to know."""

from tidegate.api.http import Request
from tidegate.domain.claims import AccessClaims
from tidegate.usecases.authenticate import Authenticate


async def authenticated(request: Request, authenticate: Authenticate) -> AccessClaims:
    """Return the claims of the request's bearer token, and note whose request it is.

    Raises:
        InvalidAccessToken: There is none that may be used now.
        Unavailable: That cannot be known now.
    """
    claims = await authenticate(request.bearer_token())
    request.user_id = claims.user_id
    return claims


def signed(request: Request, authenticate: Authenticate) -> AccessClaims:
    """Return the claims of the request's bearer token, whatever has become of its session, and note whose request it is.

    Raises:
        InvalidAccessToken: There is none that we signed and that has not expired.
    """
    claims = authenticate.signed(request.bearer_token())
    request.user_id = claims.user_id
    return claims
