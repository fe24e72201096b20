"""Names of the scalars that every system's losses may report, as `stats.jsonl` and TensorBoard have them."""

LOSS_D = "Loss_D"  # the discriminator's loss
LOSS_G = "Loss_G"  # the adversarial part of the generator's loss, unweighted
TOTAL = "total"  # the generator's whole loss
RECONSTRUCTION = "reconstruction"
D_REAL = "D(x)"  # the discriminator's mean on true pictures
D_FAKE_BEFORE = "D(G(z)) before"  # its mean on generated ones, before the generator's step
D_FAKE_AFTER = "D(G(z)) after"

SHOWN = (LOSS_D, LOSS_G, RECONSTRUCTION, TOTAL, D_REAL, D_FAKE_BEFORE, D_FAKE_AFTER)
"""What a terminal shows of a row, in order."""
