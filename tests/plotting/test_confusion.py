import numpy as np

from dynml.plotting.confusion import MOST_CLASSES_WITH_NUMBERS, plot_confusion


def test_shades_are_shares_of_the_true_class_and_numbers_are_trials():
    figure = plot_confusion([[3, 1], [0, 40]], ["rare", "frequent"], title="Testing")
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25], [0.0, 1.0]])
    assert axes.images[0].get_clim() == (0, 1)
    places = {text.get_text(): text.get_position() for text in axes.texts}
    assert places == {"3": (0, 0), "1": (1, 0), "40": (1, 1)}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["rare", "frequent"]
    assert axes.get_xlabel() == "Predicted"
    assert axes.get_ylabel() == "True"


def test_a_class_without_trials_is_an_empty_row_and_many_classes_have_no_numbers():
    figure = plot_confusion([[2, 0], [0, 0]], ["a", "b"])
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), [[1, 0], [0, 0]])
    n_classes = MOST_CLASSES_WITH_NUMBERS + 1
    many = plot_confusion(np.eye(n_classes), [f"a class with a very long name, number {k}" for k in range(n_classes)])
    assert not many.axes[0].texts
    assert all(len(label.get_text()) <= 28 for label in many.axes[0].get_yticklabels())
