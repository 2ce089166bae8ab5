"""What a container runtime leaves behind that is killed while it makes something.

Its successor reads its books and looks after what stands in them. What the dead one had made and
not yet written down, no call of the CRI ever removes; it is found here by where it lies and whose
name it carries, and removed once, when the successor has its books together.
"""
