"""Where channels lie: what readers tell, the store keeps, and pictures of the brain are drawn by."""
