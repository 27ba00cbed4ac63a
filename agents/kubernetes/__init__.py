"""The pods of this node: the API, the watch, and the options that a pod's annotations set."""
