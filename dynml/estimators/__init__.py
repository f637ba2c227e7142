"""Models as estimators of scikit-learn: fit, predict, predict_proba, transform, score.

In: arrays, tables, objects of MNE, or a store. Out: results in the form that the data had. Thin over the dataset
and the trainers: what an estimator computes is what the scripts compute. A family's estimator names its usual settings.
"""
