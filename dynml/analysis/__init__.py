"""What follows training: state statistics, model selection."""
