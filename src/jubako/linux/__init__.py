"""One module for each kernel facility; names and argument order are the kernel's.

These modules import the standard library and `jubako.errors` only.  They hold no policy: what a
container is made of is decided above, in `jubako.runtime`.
"""
