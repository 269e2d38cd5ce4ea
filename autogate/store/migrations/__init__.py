"""How databases of released schemas are brought up to date; Alembic runs ``env.py``."""
