"""What the Open Container Initiative's specifications define, as pure data: no disk, no network."""
