"""Calls by name: DNS, service addresses and rules, balancer, proxy, tunnel."""
