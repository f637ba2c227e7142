"""Maps and networks of states or modes: in, spectra or a model's moments; out, values of channels and images.

Shapes: N subjects, K states or modes, C channels, F frequencies, P channels of the model.
"""
