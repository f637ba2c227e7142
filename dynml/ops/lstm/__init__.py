"""A layer of long short-term memory compiled for a CPU.

`layer` is what models call, and `heads` what follows it; the kernels behind them must give the same numbers with any
number of threads, and tests compare them with torch's own layers. README.md says what this gains, and how it is changed
safely.
"""
