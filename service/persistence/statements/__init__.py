"""SQL by name, one module per purpose; each statement says which rows it locks and why."""
