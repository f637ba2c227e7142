"""Models that travel: one folder without anybody's name or path, for others to apply to recordings of their own.

In: an experiment and the store that it was trained on. Out: config.json, model.safetensors, the fitted preparation and
a model card, in the layout of the Hugging Face hub; `load_experiment` takes the folder in place of an experiment.
"""
