"""Reports as JSON, and who sends them."""

import json
from itertools import pairwise

from edged.device.push.http import authorization, form
from edged.device.push.parcels import Credentials, Parcel, Route
from edged.device.readings import Reading


def parcel(id_: int, path: str) -> Parcel:
    return Parcel(id_, "default", "meter", Route(path), (Reading("power", "float", str(id_), id_),))


def test_reports_that_go_to_one_path_are_one_request_and_their_order_stays() -> None:
    parcels = [parcel(number, path) for number, path in enumerate(("/a", "/a", "/b", "/a"))]
    requests = list(form("gw-a", Credentials())(parcels))
    assert [each.path for each in requests] == ["/a", "/b", "/a"]
    ids = [document["id"] for each in requests for document in json.loads(each.body)]
    assert all(before < after for before, after in pairwise(ids))
    assert len(ids) == 4
    assert requests[0].headers == {}


def test_a_token_goes_before_a_user() -> None:
    assert authorization(Credentials("t", "u", "p")) == {"Authorization": "Bearer t"}
    assert authorization(Credentials("", "Aladdin", "open sesame")) == {"Authorization": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}
