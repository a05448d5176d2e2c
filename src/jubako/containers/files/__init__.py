"""A container's files: `cp`, `diff`, `export`, `commit`, whether it runs or not.

view       the container's root as it sees it, with its mounts, as a descriptor
rules      which path of the source becomes which path of the destination: Docker's rules
places     paths inside a root: what is there, and where links lead
placing    entries become files below a directory, whatever is there and whoever changes it
transfer   what `ContainerService` offers of `cp`: look, fetch, put, copy both ways
diff       what the container has changed in its image's files
archive    all of its files as a tar, or what it has changed as a new image

Nothing of the container is ever executed, imported or looked up by name on the host: all work is
done by this process through descriptors that openat2(2) confines to the container's root.
"""
