"""What a container is: its Config and HostConfig checked and completed, and the OCI spec of them.

config, defaults    what a client asked for, merged with the image and the defaults
validate, limits    what is refused, in Docker's words; support: what the kernel cannot do
mounts, binds, ...  each kind of option: mounts, users, capabilities, devices, security, resources
cdi, cdi_edits      devices that vendors describe (Container Device Interface)
spec                all of it as the runtime's config.json

Nothing here changes the kernel, but `mounts`, which makes ready what a spec binds.
"""
