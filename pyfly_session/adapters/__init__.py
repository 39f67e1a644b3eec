"""Session stores. Import the one you need from its own module."""
