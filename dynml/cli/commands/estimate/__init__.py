"""What a run will cost: the run itself, on a part of its subjects, timed, and drawn out to all of them."""
