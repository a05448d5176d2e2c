"""Images that go: by name, by age, and what nobody refers to any more."""
