"""One truth, many nodes: clock, deltas between two linked nodes, who is there and who leads."""
