"""Encoders to files that others load, and back."""
