"""pushMethod http: reports as JSON, POSTed (pure).

KubeEdge's mappers post `property=value&time=…`, a reading a request, in seconds of local time. Here a request has a list
of reports, each with the node, its id, and the readings with their times: see Document.
"""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from itertools import groupby

from edged.device.push.form import Form, Request
from edged.device.push.parcels import Credentials, Parcel, document, encode


def form(node: str, credentials: Credentials) -> Form:
    """Makes requests, as whoever the Secret says: a token as Bearer, else a user with Basic."""
    headers = authorization(credentials)

    def requests(parcels: Sequence[Parcel]) -> Iterator[Request]:
        for path, some in groupby(parcels, lambda parcel: parcel.route.topic):
            body = encode([document(parcel, node) for parcel in some])
            yield Request(path, "application/json", body, headers)

    return requests


def authorization(credentials: Credentials) -> dict[str, str]:
    """The header Authorization (RFC 6750, RFC 7617), if there is anything to say."""
    if credentials.token:
        return {"Authorization": f"Bearer {credentials.token}"}
    if credentials.user:
        return {"Authorization": "Basic " + b64encode(f"{credentials.user}:{credentials.password}".encode()).decode()}
    return {}
