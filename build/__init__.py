"""The commands of this project, and what they share."""
