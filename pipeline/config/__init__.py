"""Settings, secrets, routes and exclusions: everything that comes from the environment."""
