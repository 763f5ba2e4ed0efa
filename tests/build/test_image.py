import io
import tarfile

import pytest

from build import machine
from build.image import busybox_archive


@pytest.mark.docker  # it needs what docker tests need: a static busybox
def test_the_archive_is_a_root_filesystem_with_every_applet() -> None:
    busybox = machine.static_busybox()
    assert busybox is not None
    with tarfile.open(fileobj=io.BytesIO(busybox_archive(busybox))) as tar:
        names = tar.getnames()
        assert {"bin", "tmp", "www", "bin/busybox", "bin/sh", "bin/httpd", "bin/hostname"} <= set(names)
        assert len(names) == len(set(names))
        assert tar.getmember("bin/sh").linkname == "busybox"
        assert tar.getmember("bin/busybox").mode & 0o111
