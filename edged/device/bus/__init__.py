"""The MQTT bus of a gateway."""
