"""Which log files exist on the node: layouts, the directory cache, inotify."""
