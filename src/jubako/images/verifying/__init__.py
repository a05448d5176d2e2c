"""Whether what is on the disk is still right, and what is damaged made anew."""
