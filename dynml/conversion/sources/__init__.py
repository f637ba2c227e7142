"""The files that a store is made from: found, described and compared before anything is written."""
