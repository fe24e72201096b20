"""Fill the white part of a mask in a picture: python examples/fill.py photo.jpg mask.png"""

import sys

import infilling

photo, mask = sys.argv[1:]
print(infilling.fill(photo, mask))
