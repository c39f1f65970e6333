"""The pocket models: a small painted world, and tiny models trained on it, carried inside the package."""
