"""edged: one daemon for an edge gateway; the gateways of a site are the cluster."""

__version__ = "0.1.0"
