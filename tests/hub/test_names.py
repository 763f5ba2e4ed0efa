from typing import Any

import pytest

from edged.hub.names import abroad, called, named, own_name, parted
from edged.identity.certificates import Subject


@pytest.mark.parametrize(("group", "name", "node"), [("", "gw-a", "gw-a"), ("site-2", "gw-a", "site-2/gw-a")])
def test_a_node_of_another_group_is_called_by_both_names(group: str, name: str, node: str) -> None:
    assert called(group, name) == node
    assert parted(node) == (group, name)
    assert abroad(node) == bool(group)


def test_both_ends_of_a_link_compare_the_same_names(acme: Any) -> None:
    a, b, x = acme.identity("gw-a"), acme.identity("gw-b"), acme.identity("gw-a", "yard")
    for one, other in ((a, b), (a, x), (x, b)):
        theirs = named(Subject("acme", "node", other.group, other.name), one)
        ours = named(Subject("acme", "node", one.group, one.name), other)
        assert (own_name(one, theirs), own_name(other, ours)) == (ours, theirs)
    assert named(Subject("acme", "node", "yard", "gw-a"), a) == "yard/gw-a"
    assert own_name(a, "gw-b") == "gw-a"
