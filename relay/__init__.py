"""The relay: authenticates nodes of one fleet, introduces those of a group to each other, forwards what it cannot read."""
