"""What devices said, kept here and on its way to others."""
