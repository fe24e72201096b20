"""Pictures, masks, holes, and the way in and out of an engine. numpy and Pillow only."""
