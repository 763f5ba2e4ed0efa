"""What the kinds ask of their values, beyond their types: Kubernetes' validation, in its words."""
