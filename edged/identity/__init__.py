"""Who may: keys, certificates of the fleet, join bundles, proofs."""
