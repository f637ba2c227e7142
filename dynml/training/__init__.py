"""What all families share: trainer, sampler, loader, checkpoint, monitors, EM and multi-start."""
