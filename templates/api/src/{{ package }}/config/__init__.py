"""Settings from the environment, and the platform they open."""
