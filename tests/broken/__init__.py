"""Stores that each break one promise of the contract, to see whether the contract notices."""
