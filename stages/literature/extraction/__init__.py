"""The parts of reference extraction: from the glyphs of a PDF to single references and what each one says."""
