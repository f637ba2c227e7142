"""What a run leaves on disk and goes on from: folder, saved state, what may change on resume, summary."""
