"""The same small site on each framework; each module has functions that return applications."""
