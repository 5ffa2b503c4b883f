"""Tokens that are pieces of words: the tokenizers of Hugging Face and SentencePiece, by their own libraries.

Neither library is asked to read a file or to fetch one: they get bytes that were checked before.
"""
