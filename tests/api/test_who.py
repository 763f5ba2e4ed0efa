from edged.api.who import ADMINS, Caller, of_certificate, of_uid


def test_who_a_caller_is() -> None:
    subject = ((("organizationName", ADMINS),), (("organizationName", "ops"),), (("commonName", "ann"),))
    assert of_certificate({"subject": subject}) == Caller("ann", frozenset({ADMINS, "ops"}))
    assert of_certificate({}) is None
    assert of_certificate({"subject": ((("organizationName", ADMINS),),)}) is None
    root, own, other = of_uid(0, 990), of_uid(990, 990), of_uid(1000, 990)
    assert (root is not None and root.admin, own is not None and own.admin, other) == (True, True, None)
