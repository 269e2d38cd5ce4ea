"""Whether weights that the user gave fit the data."""

from __future__ import annotations

from autogate.data import ImageData
from autogate.goals import SearchConfig

# Above guessing, as a share of what lies between guessing and no error. Two of twelve classes in their place give 0.09.
_NEAR_CHANCE = 0.15
# Accuracies on fewer images say too little.
_LEAST_IMAGES = 10
_SHOWN = 5


def about_given_weights(config: SearchConfig, data: ImageData, accuracy: float) -> list[str]:
    """Say that given weights score little better than guessing, which a wrong order of the classes leads to.

    Args:
        config: The search's configuration.
        data: The dataset.
        accuracy: Of the dense network on the validation images, as a fraction.

    Returns:
        One line, or none.
    """
    if data.num_classes is None or config.weights is None or config.new_head or len(data.val) < _LEAST_IMAGES:
        return []
    chance = 1 / data.num_classes
    if not 0 <= accuracy <= chance + _NEAR_CHANCE * (1 - chance):  # below 0 it is the caller's own score
        return []
    names = ", ".join(data.class_names[:_SHOWN]) + (" …" if data.num_classes > _SHOWN else "")
    return [
        f"the given weights score {accuracy:.1%} on the validation images, little more than guessing ({chance:.1%}); "
        f"check that they were trained with the classes in this order ({names}), and --mean, --std and --input-size"
    ]
