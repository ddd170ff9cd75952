"""PDFs → references → metadata → downloads."""
