"""Shared by the commands: output, progress, interruption, time arguments."""
