"""The pods of this node: the API, the watch, and the policy for each container."""
