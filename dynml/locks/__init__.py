"""Locks that end with their owner, however that ends.

They are the kernel's (`flock`) where the file system has any. NFS and Lustre are often mounted without: there an *owner
file* beside the lock's says which process of which machine holds it, and the owner touches it every few seconds. It is
taken over when its process is dead (on the same machine), or has not touched it for two minutes (on another one, where
processes cannot be asked); a touch in the future counts as one at the time when it is seen.
"""
