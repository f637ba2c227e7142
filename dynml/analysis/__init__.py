"""Results -> findings: state statistics, model selection, classification, quality of data, logs. Arrays in, tables out."""
