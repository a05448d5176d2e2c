"""A container's standard streams: the monitor's end, the client's end, and what lies between.

stdio       in the monitor: from pipes or a terminal to the log and to who is attached
client      in the monitor: one who is attached; `spool` is what he has not read yet
frames      what goes over the attach socket
attach      a program's or command's end of that socket; `collect` keeps what comes
terminal    the user's terminal: raw mode, size, signals, detach keys
"""
