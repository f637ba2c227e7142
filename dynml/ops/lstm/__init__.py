"""A layer of long short-term memory compiled for a CPU.

`layer` is what models call; the kernels behind it must give the same numbers with any number of threads, and its
tests compare them with torch's own layer. README.md says what this gains, and how it is changed safely.
"""
