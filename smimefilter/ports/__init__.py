"""What the flows need from the world, as protocols; floor 7 provides it."""
