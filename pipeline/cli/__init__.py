"""The commands of `crisp`, one module each."""
