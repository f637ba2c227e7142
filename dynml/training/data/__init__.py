"""What training learns of the data as a whole: moments, ranks, scale, EM, baselines, differences of subjects."""
