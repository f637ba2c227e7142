"""Files on participants: tables, pictures and summaries of comparisons and predictions."""
