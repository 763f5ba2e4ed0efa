"""Desired minus observed gives actions: controllers and the scheduler, as pure functions from objects to writes."""
