"""MATLAB's `.mat` files, version 5 and version 7.3."""
