"""What scripts write of results: folders, tables, pictures."""
