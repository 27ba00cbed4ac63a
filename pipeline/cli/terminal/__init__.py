"""What the commands share: output, progress, interruption, time arguments."""
