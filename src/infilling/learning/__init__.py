"""Data, systems (generator, discriminator, losses) and the loop that trains them. Needs torch."""
