"""Reading what is indexed and how the parts are: search, follow, trace, overview."""
