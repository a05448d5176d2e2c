"""One module for each command: `COMMAND` declares its flags, `run(session, call)` does it.

`run` returns the exit code and raises what the engine raises; `jubako.cli.main` prints errors.
"""
