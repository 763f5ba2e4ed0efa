"""How long to wait before the next try: exponential, capped, with full jitter on the upper half."""

from random import Random


class Backoff:
    """Delays in seconds, from `first` doubling to `cap`, each drawn from [delay/2, delay) so that peers do not march in step.

    The random source is an argument: a simulation replays the same delays.
    """

    def __init__(self, first: float, cap: float, random: Random) -> None:
        if not 0 < first <= cap:
            raise ValueError(f"back-off from {first} s to {cap} s: expected 0 < first <= cap")
        self._first, self._cap, self._random = first, cap, random
        self._tries = 0

    def next(self) -> float:
        """The delay before the next try, in seconds."""
        delay = min(self._cap, self._first * 2.0 ** min(self._tries, 62))
        self._tries += 1
        return delay * (1 - self._random.random() / 2)

    def reset(self) -> None:
        """A try succeeded: the next failure starts from `first` again."""
        self._tries = 0
