"""One device whose values come from outside: what is told goes into its twin. A shell."""

from collections.abc import Mapping, Sequence

import trio

from edged.device.external import Told
from edged.device.mapper import Sample
from edged.device.reporter import Reporter
from edged.device.wiring import Wiring, told
from edged.store.writes import Write


class Intake:
    """Serves one such device until it is cancelled."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter, self._twin = reporter, reporter.twin
        self.wired = {each.name: each for each in self._twin.wiring.properties}  # what may be told

    def rewire(self, wiring: Wiring) -> None:
        """The device or its model was changed."""
        if self._reporter.rewire(wiring):
            self.wired = {each.name: each for each in wiring.properties}

    @property
    def wiring(self) -> Wiring:
        """What is done with the device now."""
        return self._twin.wiring

    async def run(self) -> None:
        """Store what is heard, and what changes by itself: mistakes in the manifests, desired values, alarms."""
        await self._reporter.run()

    def check(self, values: Mapping[str, Told]) -> dict[str, Sample]:
        """What these values mean. InvalidError says which is wrong, and why."""
        return told(self.wired, values)

    def hear(self, samples: Mapping[str, Sample]) -> None:
        """Take in what was told and `check`ed now. Its readings go their way; the status is stored as that of any device."""
        self._twin.receive(samples, trio.current_time(), self._reporter.wall())
        self._reporter.look()

    async def told(self, reports: Sequence[Mapping[str, Sample]], also: Sequence[Write] = ()) -> None:
        """Take in what was told and `check`ed now, in this order; on disk when this returns, and `also` with it, in one write.

        ConflictError, NotFoundError, StorageError: the store's; the values are taken in nevertheless.
        """
        now, wall = trio.current_time(), self._reporter.wall()
        for samples in reports:
            self._twin.receive(samples, now, wall)
        self._reporter.pass_on()
        await self._reporter.store(also)

    async def say(self, state: str) -> None:
        """How the device is, in KubeEdge's words; until a value is told. Raises as `told`."""
        self._twin.say(state, trio.current_time(), self._reporter.wall())
        await self._reporter.store()
