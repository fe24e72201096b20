"""Fill the missing region of a picture, and train, judge and serve the models that do it."""
