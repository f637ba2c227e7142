"""Commands on results of many participants and what is known of them: comparison and prediction."""
