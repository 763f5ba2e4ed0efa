"""A token bucket: so much a second on average, and so much at once."""


class Bucket:
    """`rate` a second, at most `burst` at once; full at first. `now` is the caller's clock, in seconds."""

    def __init__(self, rate: float, burst: float) -> None:
        if rate <= 0 or burst <= 0:
            raise ValueError(f"a bucket of {rate} a second and {burst} at once: expected both above 0")
        self._rate, self._burst = rate, burst
        self._left, self._at = burst, 0.0

    def take(self, amount: float, now: float) -> bool:
        """Whether `amount` may pass now; it is taken when it may. What is larger than `burst` never may."""
        if now > self._at:
            self._left = min(self._burst, self._left + (now - self._at) * self._rate)
            self._at = now
        if amount > self._left:
            return False
        self._left -= amount
        return True
