"""Races by the ten thousand, against real servers, from several processes.

``python -m benchmarks.stress`` starts all it needs on loopback, and tells in one table
whether every promise held. Requests go through the ASGI application, cookies included.
"""
