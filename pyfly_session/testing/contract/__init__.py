"""What every store promises, as tests: one module for each kind of promise."""
