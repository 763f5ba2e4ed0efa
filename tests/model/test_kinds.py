import pytest

from edged.model.kinds import BY_KIND, BY_RESOURCE, BY_STRUCT, KINDS, SPOKEN, Row


def test_names_of_a_row() -> None:
    deployment = BY_KIND["apps/v1", "Deployment"]
    assert (deployment.resource, deployment.api_version, deployment.singular) == ("deployments.apps", "apps/v1", "deployment")
    assert (BY_RESOURCE["pods"].resource, BY_RESOURCE["pods"].api_version) == ("pods", "v1")


def test_nothing_stands_twice() -> None:
    assert len(BY_RESOURCE) == len(BY_STRUCT) == len(KINDS)
    assert len(BY_KIND) == len(SPOKEN)
    names = [name for row in KINDS for name in (row.plural, row.singular, *row.short)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("row", KINDS, ids=lambda row: row.kind)
def test_the_struct_of_a_row_is_its_kind(row: Row) -> None:
    assert row.acts.__name__ == ("Shown" if row.shows else "") + row.kind
    assert ("status" in row.acts.__struct_fields__) >= (row.status and row.kind != "Service")
    assert row.scope in ("fleet", "group")
