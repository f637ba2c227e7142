"""An experiment and its results -> one page in HTML. Nothing is computed here that is not a figure or a sentence.

In goes an experiment's folder (`experiment`), folders of results by their kind (`results`), and a store for what was
left out (`data_facts`). `verdict` says in three sentences what was asked and found; `*_section` modules make the rows
and pictures of one part each; `page` fills the templates, which lie beside the code. A new kind of results grows here
as a section of its own.
"""
