"""An experiment and its results -> one page in HTML. Nothing is computed here that is not a figure or a sentence.

In goes an experiment's folder (`experiment`), folders of results by their kind (`results`), and a store for events and
for what was left out. `verdict` says in three sentences what was asked and found, `parts` make the tables and pictures
of one part each, and `page` fills the templates, which lie beside the code. A new kind of results grows in `parts`.
"""
