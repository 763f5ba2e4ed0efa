"""OPC UA: PLCs, gateways and SCADA systems as devices."""
