"""Ids, hashes, keys, codecs and Bitcoin structures that every other package stands on."""
