"""A shelf of small named modules that several packages use; each holds one kind of helper."""
