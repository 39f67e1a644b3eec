"""A small page that shows one session at work; ``pyfly-session demo`` serves it."""
