"""What Docker's users see of Go's library: quoting, durations, sizes, `text/template`.

Pure functions of text, in the lowest layer, so that the engine and its front ends say the same.
"""
