"""Tests of `nfsleuth.capture`: what comes out of files, pipes and compressed streams."""
