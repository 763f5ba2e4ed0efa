"""Rules: messages from one kind of end to another."""
