"""Bluetooth Low Energy: sensors and beacons."""
