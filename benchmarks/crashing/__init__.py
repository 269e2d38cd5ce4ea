"""What the crash benchmark is made of."""
