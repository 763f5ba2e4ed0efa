import trio

from edged.sync.membership import Membership


async def test_the_first_name_that_is_seen_leads() -> None:
    linked = frozenset({"gw-a", "gw-c"})

    async def changed(before: frozenset[str]) -> frozenset[str]:
        assert before == linked
        await trio.lowlevel.checkpoint()
        return frozenset()

    seen = Membership("gw-b", lambda: linked, changed)
    assert seen.members == {"gw-a", "gw-b", "gw-c"}
    assert not seen.leads
    assert await seen.changed(linked) == frozenset()
    assert Membership("gw-b", frozenset, changed).leads
