"""What checks the sources, and is no part of the package."""
