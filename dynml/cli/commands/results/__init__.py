"""Commands on a trained experiment: inference, features, spectra, maps, responses, the report."""
