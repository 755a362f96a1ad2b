"""What lets networks of strangers in: how they are called, and what they are made of."""
