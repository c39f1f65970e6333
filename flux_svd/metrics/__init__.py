"""Numbers about pictures and films, computed from pixels alone: no weights, no downloads, no opinion on what is beautiful."""
