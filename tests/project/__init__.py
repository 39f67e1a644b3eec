"""What holds for the project itself, whatever the interpreter: pages, examples, layout."""
