"""Where names stood in earlier versions: found here as long as notebooks ask for them. Nothing else lives here."""
