"""Steps that prepare signals before standardization; each needs one recording only and never looks across a border."""
