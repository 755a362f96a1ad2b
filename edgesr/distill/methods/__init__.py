"""What a student learns from its teacher: one file for each distillation."""
