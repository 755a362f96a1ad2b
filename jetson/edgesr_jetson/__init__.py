"""What goes to a board: the bundle maker, and what runs on the board itself."""
