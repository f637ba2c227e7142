from pathlib import Path

import numpy as np

generator = np.random.default_rng(0)
people = ["participant_id\tgroup\tage\tfamily"]
results = ["subject\tstate\tfractional_occupancy\tmean_lifetime"]
for number in range(30):
    name, group = f"sub-{number + 1:02d}", ("control", "patient")[number // 15]
    age = int(generator.integers(20, 70))
    people.append(f"{name}\t{group}\t{age}\tf{number // 2}")
    share = generator.dirichlet([6, 6, 6])
    share[1] += 0.2 * (group == "patient")
    lifetimes = generator.normal(0.1, 0.01, 3) + np.array([0.001 * age, 0, 0])
    for state in range(3):
        lifetime = "n/a" if (number, state) == (3, 2) else f"{lifetimes[state]:.4f}"
        occupancy = share[state] / share.sum()
        results.append(f"{name}\t{state + 1}\t{occupancy:.4f}\t{lifetime}")
Path("participants.tsv").write_text("\n".join(people) + "\n")
Path("state_statistics.tsv").write_text("\n".join(results) + "\n")
