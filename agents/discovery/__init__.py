"""Discovery of the node's log files: layouts, the directory cache, inotify."""
