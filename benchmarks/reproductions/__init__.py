"""The rows of ``benchmarks/families.py``: what each family's paper shows, trained here."""
