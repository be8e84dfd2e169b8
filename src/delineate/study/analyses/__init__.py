"""The analyses of the papers: each writes a table and a picture."""
