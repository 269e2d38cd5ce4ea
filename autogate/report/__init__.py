"""Show results: plots as self-contained pages."""
