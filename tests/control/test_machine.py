import os
import platform
from ipaddress import ip_address
from pathlib import Path

from edged.control import machine


def test_the_machine_is_this_one() -> None:
    info = machine.system_info("1.2.3", "process")
    assert info.kubelet_version == "v1.2.3-edged"
    assert info.kernel_version == platform.release()
    assert info.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert info.architecture in ("amd64", "arm64", "arm") or info.architecture == platform.machine()
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal:"))
    assert abs(machine.memory() - int(total.split()[1]) * 1024) < machine.memory() // 10
    assert machine.cpus() == len(os.sched_getaffinity(0))
    assert ip_address(machine.host_ip()).version == 4
