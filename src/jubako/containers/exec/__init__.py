"""`exec`: processes in a running container beside the first.

service      what `ContainerService.execs` offers; `table` is their rows
execute      starts one: it takes a `holder`, the process that is its parent
holding      the holder until the process runs, `held` afterwards, as a small program
process      the OCI process object of one
execution    the caller's ends of its streams
"""
