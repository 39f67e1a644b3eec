"""How fast the sessions are, how large, how correct: one table, beside others of their kind.

``python -m benchmarks`` measures; ``README.md`` beside this file tells how to read the table.
``benchmarks.stress`` runs races, and ``benchmarks.encryption`` weighs encryption.
"""
