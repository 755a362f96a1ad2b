"""The papers' experiments: their tables for those who own the data, and in small for all."""
