"""Lazy start: a container runs before its image has fully arrived.

    starting     the command's part: what can start lazily, and a helper for it
    guardian     the helper: is asked by the kernel before a hole is read
    worker       its child: fetches what is missing
    filler       which bytes that needs, and each only once
    layer        what of a layer is there
    toc          the table of contents of eStargz layers
    zstd_chunked what is different in zstd:chunked
    places       where others find such layers

What it needs: the driver `erofs`, whose layers' content is in one file, and fanotify's pre-content
events (Linux 6.14), by which a read of that file waits for us.
"""
