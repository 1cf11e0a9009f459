"""The networks' layers, conventional and steerable: one function, two engines."""
