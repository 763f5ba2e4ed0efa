"""What the machine is: read once at start from /proc, /etc and uname."""

import os
import platform
import socket
from pathlib import Path

from edged.model.core import NodeSystemInfo

OUTSIDE = ("192.0.2.1", 9)  # TEST-NET-1 (RFC 5737): no packet is sent, the kernel only picks a source address


def host_ip() -> str:
    """The address that this machine uses towards the outside; 127.0.0.1 when it has no way there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(OUTSIDE)
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def memory() -> int:
    """The machine's memory in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def cpus() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0))


def system_info(version: str, runtime: str) -> NodeSystemInfo:
    """What runs here; `runtime` is like "docker://20.10.24"."""
    uname = os.uname()
    return NodeSystemInfo(
        machine_id=_text("/etc/machine-id"),
        system_uuid=_text("/sys/class/dmi/id/product_uuid"),
        boot_id=_text("/proc/sys/kernel/random/boot_id"),
        kernel_version=uname.release,
        os_image=_pretty_name(),
        container_runtime_version=runtime,
        kubelet_version=f"v{version}-edged",
        operating_system="linux",
        architecture={"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}.get(uname.machine, uname.machine),
    )


def _pretty_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def _text(path: str) -> str:
    """The file's text, or nothing where the machine has no such file or keeps it from us."""
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
