"""Commands that show the state of the pipeline and of single documents."""
