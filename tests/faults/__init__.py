"""Faults of the network and of the server, provoked for real and seen from the browser."""
