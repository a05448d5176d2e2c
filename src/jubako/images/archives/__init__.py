"""Images as files: archives read, loaded and saved."""
