"""Containers: drivers behind one protocol, the pure life of a pod, and the worker that brings the two together."""
