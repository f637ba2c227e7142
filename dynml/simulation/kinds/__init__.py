"""One module a kind of simulation: its settings, its truth, and the signals drawn from it.

A further kind is a module and one line in `truth.KINDS` and the script's table.
"""
