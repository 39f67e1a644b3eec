"""Who has which sessions: the records of each principal, kept in the session store itself."""
