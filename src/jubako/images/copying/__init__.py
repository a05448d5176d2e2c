"""`image cp`: images to another machine or from it, without a registry, only what it lacks.

    protocol      what the two sides say to each other, over any pair of streams
    sending       the side that has the images
    receiving     the side that gets them
    shell         the other side as a process: ssh, or any command that takes its place
    watching      how far it has come
    adaptive      compression that stops where it costs more time than it saves

Neither side trusts the other: what is read is bounded, and the archive goes through `load`, which
checks every digest.
"""
