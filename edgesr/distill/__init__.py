"""Training a network, alone or from a teacher: losses, schedules, patches and the loop."""
