"""The World: tools and judges behind one protocol."""
