"""Devices that are not there, for trying and for tests."""
