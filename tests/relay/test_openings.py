from relay.openings import Opening, Openings


def test_an_address_has_so_many_unproved_connections_and_no_more() -> None:
    openings = Openings(limit=2)
    with Opening(openings) as first, Opening(openings) as second, Opening(openings) as third, Opening(openings) as other:
        assert first.begin("192.0.2.1")
        assert second.begin("192.0.2.1")
        assert not third.begin("192.0.2.1")
        assert other.begin("192.0.2.2")
        first.done()
        first.done()  # once counts
        assert third.begin("192.0.2.1")
        assert openings.counts["192.0.2.1"] == 2
    assert not openings.counts
