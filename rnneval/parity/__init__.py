"""Parity: is a port, another precision or an export still the same model, with the state carried?"""
