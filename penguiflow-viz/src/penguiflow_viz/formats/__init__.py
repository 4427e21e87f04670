"""One module for each format: a drawing in, text out."""
