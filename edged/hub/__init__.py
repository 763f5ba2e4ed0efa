"""Links: the relay link, the UDP socket, paths, QUIC links between nodes and their streams."""
