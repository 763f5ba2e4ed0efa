"""Ways out: readings to the targets of pushMethods."""
