"""The Faust worker: consumer, ordered acks, memory budget, dead letters, health."""
