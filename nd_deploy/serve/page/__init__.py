"""The page at /, on which an image is dropped and its classes are seen."""
