"""What a session is and how it is stored, without HTTP and without any backend."""
