"""Training samples: patches, shards, manifests, and the torch reader."""
