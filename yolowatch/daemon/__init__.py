"""The loop that owns all state, the executor of its plans, and the root where they are composed."""
