"""Ways to need less memory or time that leave every pixel as it is. An engine uses those its placement names."""
