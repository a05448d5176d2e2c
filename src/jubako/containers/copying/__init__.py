"""`cp`: files into and out of containers, whether they run or not.

view       the container's root as it sees it, with its mounts, as a descriptor
rules      which path of the source becomes which path of the destination: Docker's rules
places     paths inside a root: what is there, and where links lead
placing    entries become files below a directory, whatever is there and whoever changes it
transfer   what `ContainerService` offers: look, fetch, put, copy both ways

Nothing of the container is ever executed, imported or looked up by name on the host: all work is
done by this process through descriptors that openat2(2) confines to the container's root.
"""
