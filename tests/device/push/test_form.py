"""Where HTTP's word is enough."""

from edged.device.push.form import Answer, accepted


def test_all_is_taken() -> None:
    assert accepted(Answer(204, b"")) == 0
