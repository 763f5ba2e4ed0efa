from edged.mesh.names import Name


def test_a_service_is_shown_with_its_namespace() -> None:
    assert str(Name("default", "web")) == "default/web"
