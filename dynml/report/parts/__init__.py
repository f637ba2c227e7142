"""What each part of a page is made of: tables, pictures and words on data, training, states, time courses, results.

In go an experiment and its results as `dynml.report` has read them, out come plain values and pictures for the
templates. A new kind of results grows here, as a module that makes its tables and pictures.
"""
