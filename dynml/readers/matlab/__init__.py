"""MATLAB's `.mat` files."""
