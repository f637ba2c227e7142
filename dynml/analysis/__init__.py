"""Results -> findings: state statistics, model selection, classification, quality of data, logs. Tables come out."""
