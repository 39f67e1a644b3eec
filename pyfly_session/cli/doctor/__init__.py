"""``pyfly-session doctor``: what is wrong with a configuration or its servers, before a user is."""
